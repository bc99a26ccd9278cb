"""From turns to utterances: which clips are cut, and who writes down what they say."""
