// The way to the server: a websocket, polling while it is down, and always an honest state.
const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const SILENCE_MS = 6000;
const POLL_MS = 5000;

export class Link {
  constructor({ onFrame, onState }) {
    this.onFrame = onFrame;
    this.onState = onState;
    this.attempt = 0;
    this.heardAt = 0;
    this.socket = null;
    this.pollAt = 0;
    this.timer = 0;
    this.open();
    setInterval(() => this.watch(), 1000);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.watch(); });
  }

  open() {
    clearTimeout(this.timer);
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws`);
    this.socket = socket;
    this.whole = false;
    this.openedAt = Date.now();
    socket.onmessage = (event) => {
      if (socket !== this.socket) return;
      this.attempt = 0;
      this.heardAt = Date.now();
      this.onState("live");
      const frame = JSON.parse(event.data);
      if (frame.type !== "update" || this.whole) this.onFrame(frame);
      if (frame.type === "snapshot") this.whole = true;
    };
    socket.onclose = () => { if (socket === this.socket) this.lost(); };
  }

  lost() {
    this.socket = null;
    this.onState("lost");
    const wait = RETRY_MS[Math.min(this.attempt, RETRY_MS.length - 1)] * (0.8 + Math.random() * 0.4);
    this.attempt += 1;
    this.timer = setTimeout(() => this.open(), wait);
  }

  // A socket that is open but mute is as good as closed; meanwhile plain requests go on.
  watch() {
    const now = Date.now();
    if (this.socket && now - Math.max(this.heardAt, this.openedAt) > SILENCE_MS) {
      const mute = this.socket;
      this.lost();
      mute.close();
    }
    if ((!this.socket || this.socket.readyState !== WebSocket.OPEN) && now - this.pollAt > POLL_MS) {
      this.pollAt = now;
      this.poll();
    }
  }

  async poll() {
    try {
      const response = await fetch("/api/snapshot", { cache: "no-store" });
      if (response.status === 401) { location.assign("/login"); return; }
      if (!response.ok || this.socket?.readyState === WebSocket.OPEN) return;
      this.heardAt = Date.now();
      this.onState("polling");
      this.onFrame(await response.json());
    } catch { /* still away: the page says so already */ }
  }
}
