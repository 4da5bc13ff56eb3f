"""Who calls: API keys, members of projects, tokens of an OpenID Connect provider."""
