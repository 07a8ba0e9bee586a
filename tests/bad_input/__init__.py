"""What a person can do wrong, case by case, and what they are told: played by tests/test_bad_input.py."""
