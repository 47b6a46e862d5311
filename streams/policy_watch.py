"""Looks after the policy's file while the pipeline runs: a change, or SIGHUP, puts what it holds in force; a file that is wrong changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from governance.policy import Policy
from schemas.errors import HeadraceError
from streams.log import log
from streams.policy_file import PolicyFile, load_policy, schema_paths
from streams.telemetry import Telemetry
from streams.versions import PolicyVersions

_LOOK_EVERY_S: Final = 1.0
#: The log shows no longer text.
_PROBLEM_CHARS_MAX: Final = 400
_State = tuple[tuple[int, int, int] | None, ...]


class PolicyWatch:
    """Reads the file again when it changed, or a schema that it names; to be used as a context manager.

    Args:
        path: The file; None for the packaged policy, which does not change.
        versions: Takes the new policy.
        problems: Gives what keeps configuration and policy from working together.
        telemetry: Counts what was applied and refused.
        look_every_s: Seconds between looks.
    """

    def __init__(
        self,
        path: Path | None,
        versions: PolicyVersions,
        problems: Callable[[Policy], Sequence[str]],
        telemetry: Telemetry,
        look_every_s: float = _LOOK_EVERY_S,
    ) -> None:
        self._path = path
        self._versions = versions
        self._problems = problems
        self._telemetry = telemetry
        self._look_every_s = look_every_s
        self._beside = () if path is None else schema_paths(path)
        self._seen = self._last = self._state()
        self._asked = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="policy", daemon=True)

    def ask(self) -> None:
        """Wants the file read now, changed or not; may be called by a signal handler."""
        self._asked.set()

    def look(self, asked: bool = False) -> bool | None:
        """Looks once: True where another policy is in force now, False where one was refused, None where nothing changed.

        A file that changed is read when it is the same at the next look.
        """
        state = self._state()
        settled = state == self._last
        self._last = state
        # A file that is being written may already be a policy, with half its rules.
        if not self._versions.started or (not asked and (state == self._seen or not settled)):
            return None
        self._seen = state
        if self._path is None:
            log().info("policy.unchanged", problem="pipeline.policy names no file: the packaged policy judges")
            return None
        self._beside = schema_paths(self._path)
        self._seen = self._last = self._state()
        try:
            file = load_policy(self._path)
            if file.policy.digest == self._versions.wanted.policy.digest:
                self._telemetry.policy_refused(is_refused=False)
                log().info("policy.unchanged", policy_id=file.policy.id, policy_version=file.policy.version)
                return None
            problems = [*self._unlike(file), *self._problems(file.policy)]
            if not problems:
                self._versions.want(file)
        except HeadraceError as error:
            problems = [*getattr(error, "problems", (str(error),))]
        except Exception as error:  # noqa: BLE001 - a policy that cannot be built must not stop one that runs; its text may quote anything
            problems = [f"{self._path}: cannot be built ({type(error).__name__}); run headrace lint"]
        return self._told(problems)

    def _state(self) -> _State:
        """Gives what changes with the policy and the schemas beside it."""
        return tuple(map(_state, () if self._path is None else (self._path, *self._beside)))

    def _unlike(self, file: PolicyFile) -> list[str]:
        """Gives why decisions under the new policy could not be told from those under the old one."""
        new, old = file.policy, self._versions.wanted.policy
        if new.id == old.id and new.version == old.version:
            return [f"{self._path}: version: {new.version} is in force with other content; raise it, for every decision names it"]
        return []

    def _told(self, problems: Sequence[str]) -> bool:
        judging = self._versions.wanted.policy
        self._telemetry.policy_reloaded("refused" if problems else "applied")
        self._telemetry.policy_refused(is_refused=bool(problems))
        if problems:
            for problem in problems:
                log().error("policy.refused", problem=problem[:_PROBLEM_CHARS_MAX], policy_version=judging.version)
        else:
            log().info("policy.applied", policy_id=judging.id, policy_version=judging.version)
        return not problems

    def _watch(self) -> None:
        while not self._ended.is_set():
            asked = self._asked.wait(self._look_every_s)
            if self._ended.is_set():
                return
            if asked and self._versions.started:
                self._asked.clear()
            self.look(asked)
            if asked and self._asked.is_set():  # the run waits for its parts: the wish is kept
                self._ended.wait(self._look_every_s)

    def __enter__(self) -> PolicyWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._asked.set()
        self._thread.join()


def _state(path: Path) -> tuple[int, int, int] | None:
    """Gives what changes with a file: its time, size and place; None where it is not there, as for a moment while an editor writes it."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)
