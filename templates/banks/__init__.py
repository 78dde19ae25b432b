"""The phrase banks, one TOML file per task; ``templates/phrases.py`` says what they must be."""
