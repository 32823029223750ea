"""Commands: introvae-train, -sample, -apply and -export, their options, and what only they need."""
