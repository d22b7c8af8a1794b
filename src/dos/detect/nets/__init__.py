"""Networks of detection; they need torch, which serving does not."""
