"""Decides what runs where and when: placement, leases, schedules, retention. Several may run; one leads."""
