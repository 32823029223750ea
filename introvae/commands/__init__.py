"""Commands: introvae-train, introvae-sample, introvae-export and their options."""
