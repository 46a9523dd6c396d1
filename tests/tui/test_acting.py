"""Acting on the screens: one door, a plan before anything, a word that grows with the risk, runs that stay in sight."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from agent.wire.actions import ActionFacts, Guard
from cockpit.errors import RequestError, UsageError
from cockpit.runbook.records import RunState, StepState
from cockpit.tui.acting.screens.deciding import Deciding
from cockpit.tui.acting.screens.leaving import Leaving
from cockpit.tui.acting.screens.menu import Menu
from cockpit.tui.acting.screens.plan import PlanWindow
from cockpit.tui.acting.screens.run import RunPage
from cockpit.tui.app import CockpitApp
from cockpit.tui.late import LateFeed
from cockpit.tui.screens.actions import Actions
from tests.fakes.hands import LIBRARY
from tests.tui.acting_stage import Acting
from tests.tui.screen import compare, press, running, screen_text, settle, terminal_text
from tests.tui.stage import StagedFeed

SIZES = ((80, 24), (200, 60))


@pytest.fixture
def acting(wedged: StagedFeed) -> Iterator[Acting]:
    """A night of its own, as far as clock and hands go: the fleet is only looked at."""
    before = wedged.clock.at
    yield Acting(wedged)
    wedged.clock.at, wedged.hands = before, None


async def start(pilot: Pilot[None]) -> None:
    """From Situation to a run of the runbook that the finding asks for."""
    await press(pilot, "x", "enter")
    await pilot.pause()
    await press(pilot, "tab", *"yes", "enter")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_from_a_finding_to_the_end_of_its_run(acting: Acting, size: tuple[int, int]) -> None:
    name = f"{size[0]}x{size[1]}.txt"
    acting.hands.why_not = {"action:systemd.restart": "policy on gpu-b02 does not allow systemd.restart to operator"}
    async with acting.on("x", size=size) as (app, pilot):
        compare(f"acting/menu-{name}", terminal_text(app))
        await press(pilot, "enter")
        compare(f"acting/plan-{name}", terminal_text(app))
        assert acting.started == []
        await press(pilot, "tab", *"yes", "enter")
        assert isinstance(app.screen, RunPage)
        acting.advance(3, seconds=12)
        await settle(pilot)
        compare(f"acting/run-{name}", screen_text(app))
        await press(pilot, "escape")
        compare(f"acting/situation-{name}", screen_text(app))
        acting.hands.ends = {"3": (StepState.FAILED, "vllm-0.service: exit status 1")}
        acting.advance(3, seconds=4)
        await press(pilot, "6")
        compare(f"acting/actions-{name}", screen_text(app))


async def test_only_the_word_itself_starts_a_plan(acting: Acting) -> None:
    async with acting.on("x", "enter") as (app, pilot):
        acting.feed.clock.at += 1
        for keys in (["enter"], ["enter"], [*"ye", "enter"], [*"x", "enter"]):
            await press(pilot, *keys)
            assert acting.started == []
        assert isinstance(app.screen, PlanWindow)
        assert "type yes to confirm" in terminal_text(app)
        await press(pilot, "ctrl+u", *"yes", "enter")
        assert [said[0] for said in acting.started] == ["start"]
        _, _, author, reason, overrides = acting.started[0]
        assert (author, overrides) == ("eva", ())
        assert "vllm:8000 is stuck" in reason


async def test_what_may_have_risk_asks_why(acting: Acting) -> None:
    async with acting.on("x", "enter") as (app, pilot):
        await press(pilot, "ctrl+u", "tab", *"yes", "enter")
        assert acting.started == []
        assert "say why" in terminal_text(app)
        await press(pilot, *"hung", "enter")
        assert acting.started[0][3] == "hung"


async def test_what_cannot_be_undone_asks_for_its_name_and_looks_like_it(acting: Acting) -> None:
    async with acting.on("9", "x", "enter") as (app, pilot):
        text = terminal_text(app)
        assert "✖ DANGER: CANNOT BE UNDONE ✖" in text
        assert "┏" in text
        name = acting.hands.plans[0].confirm
        assert name.startswith("gpu-")
        await press(pilot, *"why", "tab", *"yes", "enter")
        assert acting.started == []
        await press(pilot, "ctrl+u", *[" " if char == " " else char for char in name], "enter")
        assert acting.started[0][0] == "start"


async def test_a_refused_plan_says_which_guard_and_has_no_key_that_starts_it(acting: Acting) -> None:
    acting.hands.guards = (Guard("role", False, "systemd.restart needs the role admin (rule 2): ask root"),)
    async with acting.on("x", "enter") as (app, pilot):
        acting.feed.clock.at += 1
        text = terminal_text(app)
        assert "✖ REFUSED" in text
        assert "needs the role admin" in text
        await press(pilot, "tab", *"yes", "enter", "y")
        assert acting.started == []
        acting.hands.guards = ()
        await press(pilot, "r")
        await pilot.pause()
        assert "REFUSED" not in terminal_text(app)


async def test_a_hard_guard_that_may_be_passed_is_passed_only_by_its_own_word(acting: Acting) -> None:
    acting.hands.guards = (Guard("redundancy", False, "no spare", soft=True), Guard("quorum", False, "1 of 3 keepers"))
    async with acting.on("x", "enter") as (app, pilot):
        text = " ".join(terminal_text(app).split())
        assert "✖ quorum 1 of 3 keepers; passed only by typing override quorum" in text
        assert "▲ redundancy no spare" in text
        await press(pilot, "tab", *"yes", "enter")
        assert acting.started == []
        await press(pilot, "ctrl+u", *"override quorum", "enter")
        assert acting.started[0][4] == ("quorum",)


async def test_a_plan_older_than_its_data_is_asked_for_anew(acting: Acting) -> None:
    async with acting.on("x", "enter") as (app, pilot):
        acting.feed.clock.at += 61
        app.screen.draw()
        await settle(pilot)
        assert "this plan rests on data that is 1 m 01 s old: r asks anew" in " ".join(terminal_text(app).split())
        await press(pilot, "tab", *"yes", "enter")
        assert acting.started == []
        await press(pilot, "ctrl+r")
        await pilot.pause()
        await press(pilot, "tab", *"yes", "enter")
        assert acting.started[0][0] == "start"


async def test_asking_anew_keeps_the_reason_and_the_word_only_of_a_plan_that_reads_the_same(acting: Acting) -> None:
    async with acting.on("x", "enter") as (app, pilot):
        window = app.screen
        assert isinstance(window, PlanWindow)
        await press(pilot, "ctrl+u", *"try", "tab", *"yes", "ctrl+r")
        await pilot.pause()
        assert (window.reason.value, window.phrase.value) == ("try", "yes")
        recipe = LIBRARY["restart-replica"]
        changed = replace(recipe, steps=recipe.steps[1:])
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(LIBRARY, "restart-replica", changed)  # type: ignore[arg-type]
            await press(pilot, "ctrl+r")
            await pilot.pause()
        assert (window.reason.value, window.phrase.value) == ("try", "")
        assert "the plan reads otherwise now" in terminal_text(app)
        await press(pilot, "enter", "enter")
        assert acting.started == []


async def test_keys_begin_in_the_reason_and_arrows_scroll_the_plan_from_there(acting: Acting) -> None:
    async with acting.on("x", "enter") as (app, pilot):
        window = app.screen
        assert isinstance(window, PlanWindow)
        await press(pilot, "ctrl+u", *"retry", "pagedown", "down")
        assert window.reason.value == "retry"
        assert window.page.scroll_offset.y > 1
        assert len(acting.hands.plans) == 1


async def test_a_start_that_is_refused_stays_on_the_screen_until_it_is_read(acting: Acting) -> None:
    acting.hands.refuses = RequestError("gone", "gpu-b02: vllm-0.service was restarted since the plan was made")
    async with acting.on() as (app, pilot):
        await start(pilot)
        assert isinstance(app.screen, PlanWindow)
        acting.feed.clock.at += 5
        await settle(pilot)
        assert "✖ gpu-b02: vllm-0.service was restarted since the plan was made" in " ".join(terminal_text(app).split())


async def test_a_draft_that_fails_is_said_in_the_menu(acting: Acting) -> None:
    async def no(*_: object, **__: object) -> None:
        raise RequestError("offline", "gpu-b02: its agent does not answer; nothing was asked of others")

    acting.hands.draft = no  # type: ignore[assignment, method-assign]
    async with acting.on("x", "enter") as (app, pilot):
        await pilot.pause()
        assert isinstance(app.screen, Menu)
        assert "its agent does not answer" in terminal_text(app)
        assert acting.started == []


async def test_while_agents_are_asked_it_says_for_how_long_and_can_be_left(acting: Acting) -> None:
    asked = asyncio.Event()

    async def slow(*_: object, **__: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    acting.hands.draft = slow  # type: ignore[assignment, method-assign]
    async with acting.on("x", "enter") as (app, pilot):
        await asked.wait()
        acting.feed.clock.at += 0.8
        app.screen.draw()
        await settle(pilot)
        assert "asking the agents what restart-replica would do, 0.8 s" in terminal_text(app)
        await press(pilot, "escape")
        assert app.screen.key == "1"


async def test_parameters_are_asked_for_and_go_into_the_plan(acting: Acting) -> None:
    async with acting.on("x", "tab") as (app, pilot):
        assert "seconds, 1 to 3600" in terminal_text(app)
        await press(pilot, "ctrl+u", *"9999", "enter")
        assert "it takes 1 to 3600" in terminal_text(app)
        await press(pilot, "ctrl+u", *"2m", "enter")
        await pilot.pause()
        assert acting.hands.plans[0].params == {"deadline_s": "120"}
        assert isinstance(app.screen, PlanWindow)


@pytest.mark.parametrize(
    ("keys", "title"),
    [
        (("1",), "gpu-b02 vllm:8000"),
        (("2",), "gpu-"),
        (("3",), "GPU"),
        (("4",), "gpu-b02 vllm:8000"),
        (("5",), "gpu-b02 vllm:8000"),
        (("9",), "process"),
        (("2", "enter"), "gpu-"),
        (("3", "enter"), "GPU"),
        (("4", "enter"), "gpu-b02 vllm:8000"),
        (("5", "enter"), "gpu-b02 vllm:8000"),
    ],
)
async def test_x_is_about_what_is_under_the_cursor_everywhere(
    acting: Acting, keys: tuple[str, ...], title: str
) -> None:
    async with acting.on(*keys, "x") as (app, _):
        assert isinstance(app.screen, Menu)
        shown = next(line for line in terminal_text(app).splitlines() if "ACT ON" in line)
        names = " ".join(map(str, [about.subject for about in app.screen.targets]))
        assert title in shown or title.rsplit(maxsplit=1)[-1] in names


async def test_x_on_folded_replicas_is_about_their_pool(acting: Acting) -> None:
    async with acting.on("4", "G", "x") as (app, _):
        assert isinstance(app.screen, Menu)
        assert app.screen.about.subject.startswith("pool:")


async def test_the_menu_says_in_whole_what_the_cursor_stands_on(acting: Acting) -> None:
    acting.hands.why_not = {"action:systemd.restart": "policy on gpu-b02 does not allow it to operator"}
    async with acting.on("x", "j") as (app, pilot):
        assert terminal_text(app).count("Takes a replica out of the balancer.") == 2
        await press(pilot, "G", "enter")
        assert terminal_text(app).count("policy on gpu-b02 does not allow it to operator") == 2
        assert acting.hands.plans == []


async def test_all_of_it_by_mouse(acting: Acting) -> None:
    async with acting.on() as (app, pilot):

        async def click(words: str) -> None:
            lines = terminal_text(app).splitlines()
            y = max(at for at, line in enumerate(lines) if words in line)
            await pilot.click(offset=(lines[y].index(words) + 1, y))
            await settle(pilot)
            await pilot.pause()

        await click("x act")
        assert isinstance(app.screen, Menu)
        await click("drain-replica")
        await click("enter shows its plan")
        assert isinstance(app.screen, PlanWindow)
        await click("tab to type yes")
        await press(pilot, *"yes")
        await click("enter runs it")
        assert isinstance(app.screen, RunPage)
        assert acting.hands.runs()[0].plan.runbook == "drain-replica"
        await click("b abort")
        acting.feed.clock.at += 1
        await click("y yes")
        assert acting.started[-1][0] == "abort"


async def test_at_shows_what_was_run(acting: Acting) -> None:
    async with acting.on("3", "at") as (app, _):
        assert isinstance(app.screen, Actions)


async def test_what_fits_is_looked_at_again_while_the_menu_is_open(acting: Acting) -> None:
    acting.hands.why_not = dict.fromkeys(LIBRARY, "gpu-b02 is stale: it cannot be asked")
    async with acting.on("x", "j") as (app, pilot):
        assert isinstance(app.screen, Menu)
        chosen = app.screen.entries.selected
        acting.hands.why_not = {}
        acting.feed.clock.at += 1.1
        app.screen._tick()
        await settle(pilot)
        assert "is stale" not in terminal_text(app)
        assert app.screen.entries.selected == chosen


async def test_the_menu_reaches_what_stands_around(acting: Acting) -> None:
    async with acting.on("x") as (app, pilot):
        assert isinstance(app.screen, Menu)
        subjects = [about.subject for about in app.screen.targets]
        assert subjects[0] == "replica:vllm:8000"
        assert subjects[-1] == "host"
        await press(pilot, "left")
        assert app.screen.about.subject == "host"
        assert "quarantine-host" in terminal_text(app)


async def test_a_failed_run_is_loud_until_it_was_read_and_can_be_continued_and_rolled_back(acting: Acting) -> None:
    acting.hands.ends = {"3": (StepState.FAILED, "exit status 1")}
    async with acting.on() as (app, pilot):
        await start(pilot)
        await press(pilot, "escape")
        acting.advance(6)
        await settle(pilot)
        assert "✖ 1 run failed" in screen_text(app).splitlines()[-1]
        await press(pilot, "6", "n")
        assert isinstance(app.screen, Actions)
        await press(pilot, "enter")
        assert isinstance(app.screen, RunPage)
        assert "exit status 1" in screen_text(app)
        await press(pilot, "u")
        assert isinstance(app.screen, Deciding)
        await press(pilot, *"yes", "enter")
        assert acting.started[-1][:2] == ("roll_back", acting.run)
        acting.advance(8)
        await settle(pilot)
        assert "rolled back" in screen_text(app)
        assert "← undone" in screen_text(app)
        await press(pilot, "escape")
        assert "run" not in screen_text(app).splitlines()[-1].split("palette")[-1]


async def test_an_ask_is_answered_by_a_key_of_its_own_window(acting: Acting) -> None:
    async with acting.on("2", "x", "enter") as (app, pilot):
        confirm = acting.hands.plans[0].confirm
        await press(pilot, *"why", "tab", *confirm, "enter")
        acting.advance(1)
        await settle(pilot)
        assert "▲ WAITS FOR YOU" in screen_text(app)
        await press(pilot, "enter")
        assert isinstance(app.screen, Deciding)
        assert "go on?" in terminal_text(app)
        before = len(acting.started)
        await press(pilot, "y")  # typed ahead: not yet armed
        assert len(acting.started) == before
        acting.feed.clock.at += 1
        await press(pilot, "n")
        assert acting.started[-1][0] == "answer"
        assert acting.started[-1][3] is False


async def test_leaving_the_page_leaves_the_run_and_the_app_asks_before_it_goes(acting: Acting) -> None:
    async with acting.on() as (app, pilot):
        await start(pilot)
        acting.advance(1)
        await press(pilot, "escape", "q")
        assert isinstance(app.screen, Leaving)
        text = terminal_text(app)
        assert "1 run led from here" in text
        assert "lease" in text
        await press(pilot, "escape")
        assert app.is_running
        assert app.screen.key == "1"
        await press(pilot, "q")
        acting.feed.clock.at += 1
        await press(pilot, "b")
        assert acting.started[-1][0] == "abort"
        assert "stopping" in terminal_text(app)
        acting.advance(1)
        app.screen._look()
        await pilot.pause()
        assert app._exit


async def test_leaving_hands_the_run_over_to_its_leases(acting: Acting) -> None:
    async with acting.on() as (app, pilot):
        await start(pilot)
        await press(pilot, "ctrl+c")
        assert isinstance(app.screen, Leaving)
        acting.feed.clock.at += 1
        await press(pilot, "l")
        assert acting.started[-1] == ("leave", acting.run)
        assert app._exit


async def test_a_run_of_another_console_is_opened_and_taken_over(acting: Acting) -> None:
    plan = await acting.hands.draft("restart-replica", 5, "replica:vllm:8000")
    acting.hands.orphan(plan)
    async with acting.on("6") as (app, pilot):
        text = screen_text(app)
        assert "▲ orphaned" in text
        assert "ann" in text
        await press(pilot, "enter", "c")
        assert isinstance(app.screen, Deciding)
        await press(pilot, *"yes", "enter")
        assert acting.started[-1] == ("resume", plan.id, "eva")
        await settle(pilot)
        assert "led from here" in screen_text(app)


async def test_pages_say_what_is_under_way_on_what_they_show(acting: Acting) -> None:
    async with acting.on() as (app, pilot):
        await start(pilot)
        acting.advance(1, seconds=12)
        for keys in (("4", "enter"), ("5", "enter", "v"), ("5", "enter", "h")):
            await press(pilot, *keys)
            assert "restarting, by eva, 12 s" in screen_text(app), keys
            await press(pilot, "escape", "escape")


async def test_the_palette_runs_nothing_but_shows_the_plan(acting: Acting) -> None:
    async with acting.on("colon") as (app, pilot):
        await pilot.press(*"run drain")
        await pilot.pause(0.3)
        await pilot.press("enter")
        await pilot.pause(0.05)
        await pilot.press("enter")
        await pilot.pause(0.1)
        await settle(pilot)
        assert isinstance(app.screen, PlanWindow)
        assert acting.hands.plans[0].runbook == "drain-replica"
        assert acting.started == []


async def test_what_was_collected_is_fetched_into_one_folder(acting: Acting, tmp_path: Path) -> None:
    async with acting.on() as (app, pilot):
        await start(pilot)
        acting.advance(2)
        run = acting.hands._runs[acting.run]
        entry = ActionFacts(f"{acting.run}/1", "diagnostics.collect", "host", parts={"../nvml.json": 7000})
        steps = tuple(replace(one, entry=entry) if one.step.n == "1" else one for one in run.view.steps)
        run.view = replace(run.view, steps=steps)
        await settle(pilot)
        await press(pilot, "f", "ctrl+u", *str(tmp_path / "got"), "enter")
        async with asyncio.timeout(5):
            while "1 file in" not in " ".join(terminal_text(app).split()):
                await pilot.pause(0.02)
        files = list((tmp_path / "got").iterdir())
        assert len(files) == 1
        assert files[0].read_bytes() == acting.hands.bundle
        assert files[0].parent == tmp_path / "got"


async def test_hostile_words_of_runs_are_shown_as_they_are(acting: Acting) -> None:
    acting.hands.ends = {"1": (StepState.FAILED, "[bold red]ok[/] \x1b[2J [/nope]")}
    async with acting.on(size=(120, 40)) as (app, pilot):
        await start(pilot)
        acting.advance(2)
        for keys in (("1",), ("6",), ("6", "enter")):
            await press(pilot, *keys)
            text = screen_text(app)
            assert "[bold red]ok[/]" in text
            assert "\x1b" not in text
            assert "cannot be drawn" not in text


async def test_selection_of_runs_sticks_to_the_run(acting: Acting) -> None:
    for host in (5, 0, 2):
        plan = await acting.hands.draft("restart-replica", host, "replica:vllm:8000")
        acting.hands.start(plan, author="eva")
        acting.feed.clock.at += 1
    async with acting.on("6", "j") as (app, pilot):
        assert isinstance(app.screen, Actions)
        chosen = app.screen.table.row.id
        acting.hands.ends = {"1": (StepState.UNKNOWN, "the reply was lost")}
        acting.advance(2)
        acting.feed.clock.at += 5
        await settle(pilot)
        assert app.screen.table.row.id == chosen
        assert app.screen.table.order[0].state is RunState.RUNNING
        assert "? unknown" in screen_text(app)


async def test_a_recording_has_nobody_to_act_on(acting: Acting) -> None:
    acting.feed.hands = None
    async with running(acting.feed) as (app, pilot):
        await press(pilot, "x")
        assert [note.message for note in app._notifications] == ["This is a recording: nobody is there to act."]
        await press(pilot, "6")
        assert "no action was run" in screen_text(app)


def test_before_the_first_picture_nobody_is_asked_for_hands(acting: Acting) -> None:
    def made() -> object:
        raise UsageError("made too early")

    late = LateFeed(acting.feed.clock, 1, made)  # type: ignore[arg-type]
    assert late.hands is None
    assert CockpitApp(late).view.acting is None
