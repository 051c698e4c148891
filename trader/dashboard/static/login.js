// The sign-in page: the token for a cookie that no script can read.
const form = document.getElementById("signin");
const error = document.getElementById("error");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = document.getElementById("token");
  error.textContent = "";
  try {
    const response = await fetch("/api/login", {
      method: "POST", credentials: "same-origin",
      headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token: field.value }),
    });
    if (response.ok) { location.replace("/"); return; }
    error.textContent = (await response.json()).error.message;
  } catch {
    error.textContent = "the dashboard does not answer";
  }
  field.value = "";
  field.focus();
});
