"""Tasks on a worker: tickets are received, tasks claimed, carried out, and their ends recorded."""
