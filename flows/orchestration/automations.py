"""What Prefect does by itself about runs that end badly: ends those without a sign of life, and tells somebody."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from prefect.automations import Automation
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.types import SecretDict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

END_ZOMBIES = "mien: end runs without a sign of life"
TELL_OF_FAILURES = "mien: tell of failed runs"
NOTIFIER = "mien-failures"

_ENDS = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
_HEARTBEAT = "prefect.flow-run.heartbeat"
_SILENCE = timedelta(seconds=90)


def end_zombies() -> Automation:
    """Mark a run as crashed that sent a heartbeat and then neither another one nor its end."""
    return Automation(
        name=END_ZOMBIES,
        description="Its process was killed, or its machine is gone. The heartbeat comes every 30 s.",
        trigger=EventTrigger(
            after={_HEARTBEAT},
            expect={_HEARTBEAT, *_ENDS},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=_SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                name=None,
                message=f"It gave no sign of life for {_SILENCE.total_seconds():.0f} s.",
                force=False,
            )
        ],
    )


async def tell_of_failures(url: SecretStr) -> Automation:
    """Post a JSON object with `subject` and `text` to `url` when a run has failed or crashed.

    `text` is what a chat's incoming webhook (Slack, Mattermost, Teams' workflows) shows.
    """
    block = CustomWebhookNotificationBlock(
        name="mien",
        url="{{address}}",
        json_data={"subject": "{{subject}}", "text": "{{body}}"},
        headers=None,
        cookies=None,
        secrets=SecretDict({"address": url.get_secret_value()}),  # whoever has a chat's webhook may write there
    )
    block_id = await block.asave(NOTIFIER, overwrite=True)
    return Automation(
        name=TELL_OF_FAILURES,
        trigger=EventTrigger(
            expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            SendNotification(
                block_document_id=block_id,
                subject="{{ flow.name }} {{ flow_run.state.name | lower }}",
                body="{{ flow.name }} ({{ flow_run.name }}): {{ flow_run.state.message }} {{ flow_run | ui_url }}",
            )
        ],
    )


async def put_in_place(wanted: Iterable[Automation]) -> None:
    """Create each automation, or bring the one of its name up to date.

    One that is as wanted is left alone: an update makes Prefect forget which runs it has been waiting for.
    """
    for automation in wanted:
        try:
            found = await Automation.aread(name=automation.name)
        except ValueError:
            await automation.acreate()
            continue
        if _content(found) != _content(automation):
            automation.id = found.id
            await automation.aupdate()


def _content(automation: Automation) -> dict[str, Any]:
    return automation.model_dump(include={"name", "description", "trigger", "actions"}, exclude={"trigger": {"id"}})
