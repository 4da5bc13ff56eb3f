"""Durable tasks: how many, how soon, and what waiting ones cost, against engines that keep less."""
