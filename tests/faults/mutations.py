"""Protections taken out on purpose, and a leak put in: each must turn its row red, or the row's tests prove nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutation:
    """One protection taken out.

    Attributes:
        name: what is taken out, in a few words.
        row: that must notice.
        file: of the repository, that is changed.
        text: that stands there exactly once.
        replacement: for it.
        test: the one test of the row that notices, as pytest names it; in tests/faults if no folder is named.
    """

    name: str
    row: int
    file: str
    text: str
    replacement: str
    test: str


LOAD = (
    Mutation(
        name="steps of the ensemble take any version of a member",
        row=1,
        file="serving/configuration.py",
        text="model_version=versions[member.name]",
        replacement="model_version=-1",
        test="test_release_changes.py::test_releases_and_rollbacks_under_load",
    ),
    Mutation(
        name="no canary before a release is served",
        row=2,
        file="serving/golden.py",
        text="if not difference <= self.tolerance:",
        replacement="if False:",
        test="test_bad_releases.py::test_bad_releases_under_load_are_refused",
    ),
    Mutation(
        name="no digest is looked at",
        row=2,
        file="serving/manifest.py",
        text="if found != expected:",
        replacement="if False:",
        test="test_bad_releases.py::test_bad_releases_under_load_are_refused",
    ),
    Mutation(
        name="an unfinished promotion is not taken back",
        row=3,
        file="serving/promotion.py",
        text="    if entry is None:\n        return\n",
        replacement="    return\n",
        test="test_kills.py::test_a_promoter_killed_at_any_step",
    ),
    Mutation(
        name="shared memory of a dead server stays",
        row=3,
        file="serving/keeper.py",
        text='    remove_shared_memory(task["shared_memory_prefix"])\n',
        replacement="",
        test="tests/integration/test_server_lifecycle.py::test_killed_supervisor_leaves_nothing[is-killed-too]",
    ),
    Mutation(
        name="nobody looks at the stubs",
        row=3,
        file="serving/watcher.py",
        text="if stubs == self._healthy_stubs:",
        replacement="if True:",
        test="tests/integration/test_server_lifecycle.py::test_killed_stub_heals",
    ),
    Mutation(
        name="a full disk is an error like others to publishing",
        row=4,
        file="serving/publishing.py",
        text="if error.errno in DISK_FULL:",
        replacement="if False:",
        test="test_full_disks.py::test_a_full_disk_is_named_by_the_publisher_and_changes_nothing",
    ),
    Mutation(
        name="what is staged stays when publishing fails",
        row=4,
        file="serving/publishing.py",
        text=(
            "    finally:\n        clear_unfinished(repository, ensemble)\n"
            "    return Publication(manifest, is_new=True)"
        ),
        replacement="    return Publication(manifest, is_new=True)",
        test="test_full_disks.py::test_a_full_disk_is_named_by_the_publisher_and_changes_nothing",
    ),
    Mutation(
        name="training does not look for room",
        row=4,
        file="training/fit.py",
        text="        RoomLeft(directory),\n",
        replacement="",
        test=(
            "tests/integration/test_training_fit.py"
            "::test_a_run_on_a_full_disk_says_so_and_ends_like_another_when_there_is_room"
        ),
    ),
    Mutation(
        name="a server that stops waits for no call",
        row=5,
        file="serving/engines.py",
        text='f"--exit-timeout-secs={plan.exit_timeout_s}"',
        replacement='"--exit-timeout-secs=0"',
        test="test_termination.py::test_calls_in_flight_at_a_servers_sigterm_are_answered",
    ),
    Mutation(
        name="a gateway that stops waits for no request",
        row=5,
        file="clients/mien/gateway/command.py",
        text="timeout_graceful_shutdown=DRAIN_S",
        replacement="timeout_graceful_shutdown=0",
        test="test_termination.py::test_requests_in_flight_at_a_gateways_sigterm_are_answered",
    ),
    Mutation(
        name="the SDK sends nothing again",
        row=6,
        file="clients/mien/channel.py",
        text="    if attempts > 1:",
        replacement="    if False:",
        test="test_replica_faults.py::test_no_caller_notices_what_happens_to_one_of_two_replicas",
    ),
    Mutation(
        name="slow uploads keep their places",
        row=7,
        file="clients/mien/gateway/room.py",
        text="if slowest.speed >= SLOW_BYTES_PER_S:",
        replacement="if True:",
        test="test_bad_clients.py::test_slow_uploads_keep_nobody_out",
    ),
    Mutation(
        name="the queue before the classifier has no bound",
        row=8,
        file="model_repository/emotion_classifier/config.pbtxt",
        text="    max_queue_size: 256\n    default_timeout_microseconds: 2000000\n",
        replacement="",
        test="test_overload.py::test_three_times_the_capacity",
    ),
    Mutation(
        name="the server keeps what it was sent",
        row=9,
        file="serving/backends/onnxruntime/model.py",
        text="            feeds = [[_array(request, name) for name in self._inputs] for request in requests]\n",
        replacement=(
            "            feeds = [[_array(request, name) for name in self._inputs] for request in requests]\n"
            "            vars(self).setdefault('kept', []).extend(array.copy() for feed in feeds for array in feed)\n"
        ),
        test="test_endurance.py::test_memory_stays_over_many_requests_and_a_long_video",
    ),
    Mutation(
        name="under mixed traffic too, steps take any version of a member",
        row=18,
        file="serving/configuration.py",
        text="model_version=versions[member.name]",
        replacement="model_version=-1",
        test="test_soak.py::test_mixed_traffic_with_releases",
    ),
)
"""Of rows 1 to 9 and 18."""

ATTACKS = (
    Mutation(
        name="what another caller's request failed is not sent again",
        row=12,
        file="clients/mien/status.py",
        text="error.code() is grpc.StatusCode.INTERNAL and _ANOTHERS in",
        replacement="False and _ANOTHERS in",
        test="test_crafted_requests.py::test_a_batch_counted_as_none_fails_no_other_caller",
    ),
    Mutation(
        name="answers that are no numbers are passed on",
        row=12,
        file="clients/mien/inference.py",
        text="if not np.isfinite(rows).all():",
        replacement="if False:",
        test="test_crafted_requests.py::test_the_sdk_neither_sends_nor_passes_them_on",
    ),
    Mutation(
        name="anybody may load models",
        row=13,
        file="serving/engines.py",
        text='("model-repository", "shared-memory", "trace", "logging")',
        replacement='("shared-memory", "trace", "logging")',
        test="test_admin_key.py::test_a_load_that_brings_code_is_refused",
    ),
    Mutation(
        name="anybody may register shared memory",
        row=13,
        file="serving/engines.py",
        text='("model-repository", "shared-memory", "trace", "logging")',
        replacement='("model-repository", "trace", "logging")',
        test="test_admin_key.py::test_every_call_that_is_not_open_needs_the_key",
    ),
    Mutation(
        name="nobody looks why a TLS connection is refused",
        row=14,
        file="clients/mien/handshake.py",
        text="if time.monotonic() >= self._again_s:",
        replacement="if False:",
        test="test_tls.py::test_wrong_clients_of_triton_are_refused_and_told_why",
    ),
    Mutation(
        name="a gateway's TLS files are not looked at before it starts",
        row=14,
        file="clients/mien/gateway/command.py",
        text="    certificate.check(settings.tls_certificate, settings.tls_key)\n",
        replacement="",
        test="test_tls.py::test_a_gateway_does_not_start_with_files_that_it_cannot_use",
    ),
    Mutation(
        name="a letter that the locale lacks ends a command",
        row=16,
        file="clients/mien/output.py",
        text='sys.stdout.reconfigure(errors="backslashreplace")',
        replacement="pass",
        test="test_environment.py::test_a_letter_that_the_locale_lacks_ends_no_command",
    ),
    Mutation(
        name="a clock that was set back goes unnoticed",
        row=16,
        file="flows/running_server.py",
        text="if record.set_back_s > CLOCK_TOLERANCE_S:",
        replacement="if False:",
        test="test_environment.py::test_while_the_clock_is_set",
    ),
    Mutation(
        name="a silent PostgreSQL is waited for",
        row=17,
        file="clients/mien/gateway/feedback/postgresql.py",
        text="elif time.monotonic() - heard_s > SILENCE_S:",
        replacement="elif False:",
        test="test_databases_away.py::test_corrections_while_postgresql_is_away",
    ),
    Mutation(
        name="what waits for PostgreSQL takes everybody's threads",
        row=17,
        file="clients/mien/gateway/feedback/desk.py",
        text="run_in_executor(self._threads,",
        replacement="run_in_executor(None,",
        test="test_databases_away.py::test_corrections_while_postgresql_is_away",
    ),
    Mutation(
        name="each request waits for Redis",
        row=17,
        file="clients/mien/gateway/rates.py",
        text="            if time.monotonic() < self._again_s:\n                raise _AwayError\n",
        replacement="",
        test="test_databases_away.py::test_limits_while_redis_is_away",
    ),
    Mutation(
        name="a configuration may name any backend",
        row=15,
        file="serving/foreign_code.py",
        text="    if backend != wanted:",
        replacement="    if False:",
        test="test_malicious_files.py::test_a_stored_release_that_brings_code",
    ),
    Mutation(
        name="a manifest may name files outside",
        row=15,
        file="serving/manifest.py",
        text='    if parts.is_absolute() or ".." in parts.parts:',
        replacement="    if False:",
        test="test_malicious_files.py::test_a_stored_release_whose_files_lead_outside",
    ),
    Mutation(
        name="golden inputs may be a pickle",
        row=15,
        file="serving/golden.py",
        text="allow_pickle=False",
        replacement="allow_pickle=True",
        test="test_malicious_files.py::test_a_pickle_as_golden_inputs",
    ),
    Mutation(
        name="files are not held against their digests",
        row=15,
        file="serving/manifest.py",
        text="            if found != expected:",
        replacement="            if False:",
        test="test_malicious_files.py::test_a_replaced_savedmodel",
    ),
    Mutation(
        name="a dataset's file is read as anything that Pillow knows",
        row=15,
        file="training/sources.py",
        text=", formats=_FORMATS",
        replacement="",
        test="test_malicious_files.py::test_a_dataset_that_leads_outside_or_brings_a_program",
    ),
)
"""Of rows 10 to 17."""

MUTATIONS = (*LOAD, *ATTACKS)
