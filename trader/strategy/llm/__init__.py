"""The strategy `llm`: a language model asked through OpenRouter, on a short leash."""
