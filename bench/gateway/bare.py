"""The least that FastAPI can do: ``python -m bench.gateway.bare DATABASE PORT`` reads one row for each
request and answers with it. No key, no rights, no limits."""

from __future__ import annotations

import sys
from typing import Any

import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import create_async_engine


def application(database: str) -> FastAPI:
    """One route; its driver and pool are those that Aetherium uses for SQLite."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{database}", pool_size=4)
    query = sa.text("SELECT id, type, state, created_at, attempt, spec FROM tasks WHERE id = :id")
    app = FastAPI()

    @app.get("/v1/tasks/{task_id}")
    async def get(task_id: str) -> dict[str, Any]:
        async with engine.connect() as connection:
            row = (await connection.execute(query, {"id": task_id})).mappings().one()
        return dict(row)

    return app


if __name__ == "__main__":
    uvicorn.run(application(sys.argv[1]), port=int(sys.argv[2]), access_log=False, log_level="warning")
