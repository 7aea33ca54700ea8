"""Passwords of users in tests."""

PASSWORD = "twelve green apples"
