"""``python -m aetherium.jobfile`` prints the JSON schema, which is published as docs/job.schema.json."""

import json
import sys

from aetherium.jobfile import schema

sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
