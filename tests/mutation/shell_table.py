"""The mutations of `scripts/mutate --shell`: what is left out or done wrongly, where, and the test that must notice."""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """`old` is in `file` exactly once, and `new` takes its place; `test`: pytest's name of what must turn red."""

    name: str
    file: str
    old: str
    new: str
    test: str


ACTIONS = "tests/unit/daemon/test_action_table.py::test_"
ASSEMBLY = "tests/unit/daemon/test_assembly.py::test_"
THREADS = "tests/unit/daemon/test_action_threads.py::test_"
PROBE_THREADS = "tests/unit/daemon/test_probe_threads.py::test_"
PROBES = "tests/unit/daemon/test_probe_table.py::test_"
LOOP = "tests/unit/daemon/test_loop.py::test_"
STOPS = "tests/unit/actions/test_postgres.py::test_"
PREPARE = "tests/unit/actions/test_prepare.py::test_"
VIPS = "tests/unit/actions/test_vip.py::test_"
FORMER = "tests/unit/actions/test_leftovers.py::test_"
FENCE = "tests/unit/actions/test_fence.py::test_"
MOUNT = "tests/unit/actions/test_mount.py::test_"
DATABASE = "tests/unit/probes/test_database.py::test_"
PROCESSES = "tests/unit/system/test_processes.py::test_"
RECORD = "tests/unit/state/test_record.py::test_"
ARCHIVE = "tests/unit/archive/test_"
LINK = "tests/unit/link/test_"
LAB = "tests/lab/actions/test_"

DAEMON = (
    Mutation("the record is not written", "pgvip/daemon/action_table.py",
        "        self._store.save(action.durable)\n", "",
        f"{ACTIONS}a_state_that_was_written_is_what_the_next_daemon_reads"),
    Mutation("a start without the system identifier", "pgvip/daemon/action_table.py",
        ", system_id=system_id)", ")",
        f"{ACTIONS}a_cluster_that_is_not_the_record_s_is_not_started"),
    Mutation("a clean stop kills", "pgvip/daemon/action_table.py",
        "clean=action.clean, handover", "clean=False, handover",
        f"{ACTIONS}only_a_stop_that_may_kill_kills[True]"),
    Mutation("who has the VIP is not reported", "pgvip/daemon/action_table.py",
        "Outcome(text=vip.check(self._config(), action.vip))", "Outcome()",
        f"{ACTIONS}addresses_are_raised_dropped_and_checked"),
    Mutation("a veto is not reported", "pgvip/daemon/action_table.py",
        "Outcome(text=self._ask_veto())", "Outcome()",
        f"{ACTIONS}a_veto_comes_back_in_the_words_of_the_hook"),
    Mutation("an interrupt ends nothing", "pgvip/daemon/action_table.py",
        "        kill_cluster(self._config().postgres.data_directory, INTERRUPT_S)\n", "",
        f"{ACTIONS}an_interrupt_ends_the_server_that_a_start_waits_for"),
    Mutation("a stop waits for a start that hangs", "pgvip/daemon/action_threads.py",
        "            self._interrupt(action)\n", "            pass\n",
        f"{THREADS}a_stop_ends_what_a_hanging_action_waits_for[StartPostgres]"),
    Mutation("a start that waited undoes a stop", "pgvip/daemon/action_threads.py",
        "if stops != self._stops and", "if False and",
        f"{THREADS}a_start_that_still_waits_when_a_stop_is_ordered_never_begins"),
    Mutation("the peer's VIP is asked where it is one's own", "pgvip/daemon/probe_table.py",
        "if held is None or name in held:", "if False:",
        f"{PROBES}the_peer_is_asked_at_its_vip_unless_that_may_be_this_host_s[its own]"),
    Mutation("the peer's VIP is asked where nobody knows whose it is", "pgvip/daemon/probe_table.py",
        "if held is None or name in held:", "if held is not None and name in held:",
        f"{PROBES}the_peer_is_asked_at_its_vip_unless_that_may_be_this_host_s[unknown]"),
    Mutation("a lease is renewed for a loop that hangs", "pgvip/daemon/probe_table.py",
        "if snapshot is None or now_s() - snapshot.at_s > ", "if snapshot is None or 0 > ",
        f"{PROBES}a_lease_is_not_renewed_for_a_loop_that_hangs_or_has_lost_the_right[loop hangs]"),
    Mutation("an observation is as new as its answer", "pgvip/daemon/probe_threads.py",
        "now_s() if reason else began_s,", "now_s(),",
        f"{PROBE_THREADS}a_look_is_as_old_as_the_moment_at_which_it_began"),
    Mutation("the end of the postmaster is not waited for", "pgvip/daemon/probe_threads.py",
        "        self._selector.register(descriptor, selectors.EVENT_READ)\n", "",
        f"{PROBE_THREADS}the_end_of_the_postmaster_is_told_at_once"),
    Mutation("no hook for a fault in a thread", "pgvip/daemon/crash.py",
        "        threading.excepthook = self.handle\n", "        pass\n",
        f"{ASSEMBLY}a_fault_in_any_thread_ends_the_daemon"),
    Mutation("the hook for a fault is not installed", "pgvip/daemon/assembly.py",
        "        CrashHandler(self._recorder.store).install()\n", "",
        f"{ASSEMBLY}a_fault_in_any_thread_ends_the_daemon"),
    Mutation("the daemon takes no lock", "pgvip/daemon/assembly.py",
        "        lock.take(config.paths.run)", "        pass",
        f"{ASSEMBLY}a_second_daemon_touches_nothing"),
    Mutation("the lock locks nothing", "pgvip/system/lock.py",
        "        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n", "        pass\n",
        f"{ASSEMBLY}a_second_daemon_touches_nothing"),
    Mutation("no probe runs after a result", "pgvip/daemon/loop.py",
        "            for name in event.action.properties.probes:\n                self._outside.wake(name)\n", "",
        f"{LOOP}a_result_makes_the_probes_run_that_see_what_was_done"),
    Mutation("no database probe after a change of the processes", "pgvip/daemon/loop.py",
        '            self._outside.wake("database")\n', "",
        f"{LOOP}a_change_of_the_processes_makes_the_database_be_looked_at"),
    Mutation("the core's probes do not run", "pgvip/daemon/loop.py",
        "        for name in decision.wake:\n            self._outside.wake(name)\n", "",
        f"{LOOP}a_round_makes_the_probes_run_that_the_core_asks_for"),
    Mutation("a message before its facts are kept", "pgvip/daemon/loop.py",
        "        self._keep(decision.knowledge)\n", "",
        f"{LOOP}facts_are_kept_before_they_are_told"),
    Mutation("facts of another boot are believed", "pgvip/state/record.py",
        "kept is not None and kept.boot_id == boot_id", "kept is not None",
        f"{RECORD}boot_facts_live_for_one_boot"),
    Mutation("the record is not on the disk", "pgvip/state/record.py",
        "        _save(self.path, durable, durable=True)", "        _save(self.path, durable, durable=False)",
        f"{RECORD}a_save_is_synced_before_and_after_the_rename"),
    Mutation("the record's name is not on the disk", "pgvip/state/files.py",
        "        try:\n            sync_directory(path.parent)", "        try:\n            pass",
        f"{RECORD}a_save_is_synced_before_and_after_the_rename"),
)  # fmt: skip

OBSERVATIONS = (
    Mutation("a disk counts as written before it is", "pgvip/probes/disk_writer.py",
        "        os.fsync(descriptor)\n", "",
        "tests/unit/probes/test_disks.py::test_each_round_waits_until_what_was_written_is_on_the_disk"),
    Mutation("a backend of another postmaster is believed", "pgvip/probes/database.py",
        "if session.backend_pid and processes.parent_of(session.backend_pid) != postmaster.pid:", "if False:",
        f"{LAB}probes.py::test_backend_of_another_postmaster_is_not_the_database"),
    Mutation("a backend of a dead postmaster is believed", "pgvip/probes/database.py",
        '            session.close()\n            raise ProbeError("there is no postmaster")\n',
        '            return ""\n',
        f"{LAB}probes.py::test_answer_of_a_backend_whose_postmaster_died_meanwhile_is_not_the_database_s"),
    Mutation("what was seen of one postmaster counts for the next", "pgvip/probes/database.py",
        " = Memory(postmaster)\n", " = self._memory._replace(postmaster=postmaster)\n",
        f"{DATABASE}where_recovery_ended_is_remembered_of_one_postmaster"),
    Mutation("a stream is what the view calls so", "pgvip/probes/database.py",
        "            and said.message_age_s <= self.config.settings.dead_after_s\n", "",
        f"{DATABASE}a_stream_is_one_over_which_its_sender_was_heard[streaming-60.0-False]"),
    Mutation("any database at the peer's address is the peer's", "pgvip/probes/peer_database.py",
        "    if system_id and found != system_id:", "    if False:",
        "tests/unit/probes/test_peer_database.py::"
        "test_what_does_not_prove_to_be_the_peer_is_named_and_counts_for_nothing[other cluster]"),
)  # fmt: skip

SERVER = (
    Mutation("a stop is not verified", "pgvip/actions/postgres.py",
        "        _kill(config)\n    _verify_gone(config)\n", "        _kill(config)\n",
        f"{STOPS}a_server_that_somebody_starts_again_during_the_stop_is_found"),
    Mutation("a clean stop without the control file", "pgvip/actions/postgres.py",
        '    if state not in ("shut down", "shut down in recovery"):', "    if False:",
        f"{STOPS}a_server_that_ended_without_its_checkpoint_was_not_stopped_cleanly[in production]"),
    Mutation("orphans count as a clean stop", "pgvip/actions/postgres.py",
        "        if processes.cluster_processes(data):\n", "        if False:\n",
        f"{STOPS}orphans_are_nothing_that_a_clean_stop_could_end"),
    Mutation("a promotion is not awaited", "pgvip/actions/postgres.py",
        "                _await_promotion(config, session)\n", "",
        f"{LAB}promotion.py::test_promotion_that_does_not_come_to_its_end_is_none"),
    Mutation("a promotion waits for the archive", "pgvip/actions/postgres.py",
        "    flag.touch()\n", "",
        f"{LAB}servers.py::test_hanging_archive_does_not_hold_up_a_promotion"),
    Mutation("standby.signal is not the first thing", "pgvip/actions/prepare.py",
        "        # First of all: whoever starts it from now on, starts a standby.\n"
        "        write_signals(config, standby=True)\n", "        pass\n",
        f"{LAB}prepare.py::test_data_are_a_standbys_before_anything_else_is_written"),
    Mutation("data that are not whole are started", "pgvip/actions/prepare.py",
        "    if why := why_unusable(config):", "    if why := '':",
        f"{PREPARE}data_that_are_not_whole_are_not_started_until_they_are"),
    Mutation("a start beside processes of the cluster", "pgvip/actions/prepare.py",
        "    if left:\n", "    if False:\n",
        f"{PREPARE}nothing_is_written_while_processes_of_the_cluster_are_left"),
    Mutation("a primary whose data are older than its standby's", "pgvip/actions/prepare.py",
        "    else:\n        _refuse_older_data(config)\n", "",
        f"{LAB}same_timeline.py::test_primary_whose_directory_was_put_back_to_an_older_copy"),
    Mutation("commits that do not wait are allowed", "pgvip/actions/prepare.py",
        "        _refuse_weak_commit(config)\n", "        pass\n",
        f"{LAB}servers.py::test_start_refuses_weak_commits_in_sync"),
    Mutation("synchronous names without a reload", "pgvip/actions/replication.py",
        "    if postmaster is None or not processes.send(postmaster, signal.SIGHUP):", "    if postmaster is None:",
        f"{LAB}replication.py::test_sync_names_are_in_effect_when_it_returns"),
    Mutation("a grant for any flush", "pgvip/actions/replication.py",
        "            if lsn(receiver.flush_lsn) + lag_bytes_max >= point.lsn:\n                return True\n",
        "            return True\n",
        f"{LAB}replication.py::test_grant_is_not_confirmed_by_a_standby_that_answers_and_flushes_nothing"),
    Mutation("a grant for what was seen before", "pgvip/actions/replication.py",
        "                continue\n", "                return True\n",
        f"{LAB}replication.py::test_grant_is_not_confirmed_by_what_was_seen_before"),
    Mutation("the postmaster is killed first", "pgvip/system/processes.py",
        "        for ref in reversed(left):", "        for ref in left:",
        f"{PROCESSES}the_postmaster_is_killed_last"),
    Mutation("one process of the cluster is left", "pgvip/system/processes.py",
        "        for ref in reversed(left):\n"
        "            send(ref, signal.SIGKILL)\n"
        "        # a process that was forking while it was killed shows up in the second look\n"
        "        return not left and not cluster_processes(data_directory)\n",
        "        for ref in reversed(left[1:]):\n"
        "            send(ref, signal.SIGKILL)\n"
        "        return len(left) <= 1\n",
        f"{PROCESSES}killing_takes_everything_also_what_is_stopped_or_just_forked"),
)  # fmt: skip

REJOIN = (
    Mutation("the source is not proved again", "pgvip/rejoin/follow.py",
        "        # Stopped, so it cannot be this host's own server that answers now.\n"
        "        found = source.prove_source(config, found.system_id)\n", "",
        f"{LAB}rejoin.py::test_source_that_changed_its_role_during_the_stop_is_not_followed"),
    Mutation("a read-write server is taken for a standby", "pgvip/rejoin/follow.py",
        "    if not standby:\n", "    if False:\n",
        f"{LAB}rejoin.py::test_read_write_server_is_never_rejoined"),
    Mutation("a server is stopped unasked", "pgvip/rejoin/follow.py",
        '    _refuse_read_write(config)\n    progress("stopping the standby")\n',
        '    progress("stopping the standby")\n',
        f"{LAB}rejoin.py::test_server_that_was_promoted_while_it_was_copied_over_is_not_stopped"),
    Mutation("diverged WAL is not saved", "pgvip/rejoin/follow.py",
        "    return _save(config, divergence, found, progress)\n", "    return None\n",
        f"{LAB}rejoin.py::test_crashed_primary_with_more_wal_is_rewound_and_its_loss_listed"),
    Mutation("data under a rewind look whole", "pgvip/rejoin/rewind.py",
        '    prepare.mark_unusable(config, "rewind")\n', "",
        f"{LAB}rejoin.py::test_rewound_data_is_not_started_before_its_archive_is_clean"),
    Mutation("data under a swap look whole", "pgvip/rejoin/copy.py",
        "        prepare.mark_unusable(config, SWAP)\n    finish_swap(config)\n",
        "    _swap(config)\n    make_standby(config)\n",
        f"{LAB}interrupted.py::test_clone_that_could_not_be_put_in_place_is_remembered"),
    Mutation("another cluster's data are replaced", "pgvip/rejoin/copy.py",
        "        if here != system_id:\n", "        if False:\n",
        f"{LAB}clone.py::test_other_cluster_is_not_touched"),
)  # fmt: skip

HOST = (
    Mutation("a new address is not announced", "pgvip/actions/vip.py",
        "        netlink.add_address(config.me.interface, config.vips[vip], config.valid_lft_s)\n"
        "        _announce(config.me.interface, config.vips[vip])\n",
        "        netlink.add_address(config.me.interface, config.vips[vip], config.valid_lft_s)\n",
        f"{VIPS}an_address_is_added_announced_and_dropped_and_all_can_be_repeated"),
    Mutation("sessions outlive their address", "pgvip/actions/vip.py",
        " sessions.end_sessions(", " (lambda *_: 0)(",
        f"{VIPS}sessions_through_an_address_end_before_it_goes"),
    Mutation("a renewal brings back what was dropped", "pgvip/actions/vip.py",
        "        here = addresses.carried(config, vip)\n        for place in here:\n            netlink.add_address(",
        "        here = former_vips.served(config, vip, now_s())\n        for place in here:\n"
        "            netlink.add_address(",
        f"{VIPS}what_was_dropped_is_neither_renewed_nor_announced"),
    Mutation("a former address stays when its VIP goes", "pgvip/actions/vip.py",
        "        for place in former:\n", "        for place in ():\n",
        f"{FORMER}a_former_address_is_raised_served_and_dropped_with_its_vip"),
    Mutation("an address is raised beside one that was dropped", "pgvip/actions/vip.py",
        "            if addresses.carried(config, vip):  # not dropped since\n", "            if True:\n",
        f"{FORMER}a_former_address_is_raised_served_and_dropped_with_its_vip"),
    Mutation("an accepted order is a fence", "pgvip/actions/fence.py",
        '        return answer == "off"\n', "        return True\n",
        f"{FENCE}an_accepted_order_is_no_proof"),
    Mutation("no answer of the device is a fence", "pgvip/actions/fence.py",
        '        return answer == "off"\n', '        return answer != "on"\n',
        f"{FENCE}a_status_that_always_fails_is_no_proof"),
    Mutation("an unmount that ends badly is one", "pgvip/system/mounts.py",
        "            if mounted(point):\n                raise\n", "",
        f"{MOUNT}a_mount_that_stays_is_an_error_also_when_umount_lingers"),
    Mutation("a mount that says so is one", "pgvip/system/mounts.py",
        "    if not mounted(point):\n        raise", "    if False:\n        raise",
        f"{MOUNT}a_mount_that_only_says_so_is_an_error"),
)  # fmt: skip

FILES = (
    Mutation("an archived file is not on the disk", "pgvip/archive/packing.py",
        "            _copy(old.fileno(), new.fileno())\n        os.fsync(new.fileno())\n\n\ndef unpack(",
        "            _copy(old.fileno(), new.fileno())\n\n\ndef unpack(",
        f"{ARCHIVE}sending.py::test_a_file_is_on_the_disk_before_it_has_its_name"),
    Mutation("the name of an archived file is not on the disk", "pgvip/archive/sending.py",
        "    packing.sync(directory)\n", "",
        f"{ARCHIVE}sending.py::test_a_file_is_on_the_disk_before_it_has_its_name"),
    Mutation("what an earlier attempt left is not synced", "pgvip/archive/sending.py",
        "    packing.sync(target)\n    packing.sync(target.parent)\n", "",
        f"{ARCHIVE}sending.py::test_a_file_that_is_there_already_is_synced"),
    Mutation("another content in the archive is taken for the same", "pgvip/archive/sending.py",
        "    if not packing.same(target, source):\n", "    if False:\n",
        f"{ARCHIVE}commands.py::test_different_file_is_never_overwritten[other]"),
    Mutation("what was archived is not read back", "pgvip/archive/sending.py",
        "        if not packing.same(temporary, source):\n", "        if False:\n",
        f"{ARCHIVE}commands.py::test_what_does_not_read_back_is_not_archived"),
    Mutation("a file that changed after it was archived ahead is answered for", "pgvip/archive/ahead.py",
        "{found.st_size}:{found.st_mtime_ns}:{found.st_ctime_ns}", "{found.st_size}",
        f"{ARCHIVE}ahead.py::test_a_file_that_changed_since_is_compared_again"),
    Mutation("files are archived ahead beyond one that failed", "pgvip/archive/archive_command.py",
        "    except (OSError, ArchiveFailed):\n        pass  # PostgreSQL",
        "    except ZeroDivisionError:\n        pass  # PostgreSQL",
        f"{ARCHIVE}ahead.py::test_it_ends_with_the_first_that_fails"),
    Mutation("a restore that hangs holds up a promotion", "pgvip/archive/restore_wal.py",
        "    while time.monotonic() < end_s and not flag.exists():\n", "    while time.monotonic() < end_s:\n",
        f"{ARCHIVE}commands.py::test_flag_that_appears_while_an_archive_hangs_ends_the_wait"),
    Mutation("what the history left is restored from others", "pgvip/archive/restore_wal.py",
        "        if number > 1 and left_behind(name, target.parent):\n            continue\n", "",
        f"{ARCHIVE}commands.py::test_others_are_not_asked_for_what_the_history_left"),
    Mutation("WAL that somebody needs is removed", "pgvip/archive/retention.py",
        "    oldest = min(needs, key=", "    oldest = max(needs, key=",
        f"{ARCHIVE}retention.py::test_the_oldest_need_counts"),
    Mutation("the last good backup is removed", "pgvip/archive/retention.py",
        "good[max(1, keep) :]", "good[keep:]",
        f"{ARCHIVE}retention.py::test_the_last_good_one_stays_whatever_is_configured"),
    Mutation("any certificate is the peer's", "pgvip/link/connection.py",
        "        if sock.getpeercert(binary_form=True) not in peer_ders:\n", "        if False:\n",
        f"{LINK}peer_link.py::test_exact_certificate_is_wanted_even_if_the_trust_store_says_yes"),
    Mutation("anybody gives orders", "pgvip/link/operator_socket.py",
        "    return uid in (0, os.geteuid())\n", "    return True\n",
        f"{LINK}operator_socket.py::test_another_user_is_refused_even_where_the_file_lets_him"),
    Mutation("a command outlives its time", "pgvip/system/commands.py",
        "    for number, patience_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, dying_s)):\n",
        "    for number, patience_s in ((signal.SIGTERM, grace_s),):\n",
        "tests/unit/system/test_commands.py::test_a_child_that_ignores_sigterm_is_killed"),
)  # fmt: skip

MUTATIONS = (*DAEMON, *OBSERVATIONS, *SERVER, *REJOIN, *HOST, *FILES)
