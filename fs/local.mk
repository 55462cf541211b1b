# The client.
noinst_LIBRARIES += fs/libfs.a
fs_libfs_a_SOURCES = \
	fs/action.c \
	fs/ahead.h \
	fs/audit.c \
	fs/buffer.c fs/buffer.h \
	fs/caller.c \
	fs/cell.c \
	fs/commit.c \
	fs/content.h \
	fs/core.h \
	fs/credit.c \
	fs/data.c \
	fs/due.c \
	fs/engine.c fs/engine.h \
	fs/extent.c \
	fs/journal.c fs/journal.h \
	fs/full.c \
	fs/layer.c \
	fs/keep.c \
	fs/lease.c \
	fs/need.c \
	fs/object.c fs/object.h \
	fs/op_dir.c \
	fs/op_file.c \
	fs/op_name.c \
	fs/op_replay.c \
	fs/offline.c \
	fs/redo.c \
	fs/replay.c fs/replay.h fs/replay_room.h \
	fs/replay_beside.c \
	fs/replay_plan.c \
	fs/scout.c \
	fs/sleep.c \
	fs/span.c \
	fs/span_cost.c \
	fs/supply.c \
	fs/trim.c \
	fs/txn.c \
	fs/walk.c

# The threads around the engine, and the home.
fs_libfs_a_SOURCES += \
	fs/alarm.c fs/alarm.h \
	fs/answer.c \
	fs/blockcache.c fs/blockcache.h \
	fs/blockfile.c fs/blockfile.h \
	fs/bulk.c fs/bulk.h \
	fs/channel.c fs/channel.h \
	fs/clock.h \
	fs/conflicts.c fs/conflicts.h \
	fs/control.c fs/control.h \
	fs/delay.h \
	fs/duct.c fs/duct.h \
	fs/errand.c \
	fs/features.c fs/features.h \
	fs/home.c fs/home.h \
	fs/journal_file.c fs/journal_file.h \
	fs/lanes.c \
	fs/link.c fs/link.h \
	fs/lock.h \
	fs/locks.c fs/locks.h \
	fs/log.c fs/log.h \
	fs/mount.c fs/mount.h \
	fs/mount_locks.c fs/mount_locks.h \
	fs/mount.c fs/mount.h fs/mount_room.h \
	fs/mover.c fs/mover.h \
	fs/note.c fs/note.h \
	fs/notifier.c fs/notifier.h \
	fs/peek.c fs/peek.h \
	fs/pinner.c fs/pinner.h \
	fs/request.c \
	fs/resolve.c fs/resolve.h \
	fs/shell.c fs/shell.h fs/shell_room.h \
	fs/shell_replay.c \
	fs/stream.c fs/stream.h \
	fs/workers.c fs/workers.h

# A store that is reached by SSH.
fs_libfs_a_SOURCES += \
	fs/ssh.c fs/ssh.h \
	fs/ssh_ask.c fs/ssh_ask.h \
	fs/ssh_cipher.c fs/ssh_cipher.h \
	fs/ssh_config.c fs/ssh_config.h \
	fs/ssh_install.h \
	fs/ssh_known.c fs/ssh_known.h \
	fs/ssh_parcel.c fs/ssh_parcel.h \
	fs/ssh_place.c fs/ssh_place.h \
	fs/ssh_session.h
if SSH
fs_libfs_a_SOURCES += fs/ssh_auth.c fs/ssh_host.c fs/ssh_install.c fs/ssh_pump.c
endif

# The command.
bin_PROGRAMS += nuage
nuage_SOURCES = \
	fs/cmd.c fs/cmd.h \
	fs/cmd_create.c \
	fs/cmd_invite.c \
	fs/cmd_join.c \
	fs/cmd_login.c \
	fs/cmd_mount.c \
	fs/cmd_pin.c \
	fs/cmd_recover.c \
	fs/cmd_ssh.c \
	fs/cmd_status.c \
	fs/cmd_sync.c \
	fs/cmd_umount.c \
	fs/cmd_volumes.c \
	fs/fstab.c fs/fstab.h \
	fs/guard.c fs/guard.h \
	fs/handover.c fs/handover.h \
	fs/main.c \
	fs/mounts.c fs/mounts.h \
	fs/redoer.c fs/redoer.h \
	fs/serve.c fs/serve.h \
	fs/serve_cache.c fs/serve_cache.h \
	fs/serve_config.c fs/serve_config.h \
	fs/serve_journal.c fs/serve_journal.h \
	fs/serve_login.c fs/serve_login.h \
	fs/serve_status.c fs/serve_status.h \
	fs/suspend.c fs/suspend.h \
	fs/logind.h
if LOGIND
nuage_SOURCES += fs/logind.c
endif
nuage_LDADD = fs/libfs.a proto/libproto.a $(PROTO_LIBS) $(FUSE_LIBS) $(SSH_LIBS) $(SYSTEMD_LIBS)

# What mount(8) looks for, and a unit that mounts as a user logs in.
INSTALL_LINKS += mount-link
UNINSTALL_LINKS += mount-unlink
mount-link:
	$(MKDIR_P) '$(DESTDIR)$(sbindir)'
	$(LN_S) -f '$(bindir)/nuage' '$(DESTDIR)$(sbindir)/mount.nuage'
mount-unlink:
	rm -f '$(DESTDIR)$(sbindir)/mount.nuage'
.PHONY: mount-link mount-unlink
userunitdir = $(prefix)/lib/systemd/user
nodist_userunit_DATA = fs/nuage@.service
EXTRA_DIST += fs/nuage@.service.in
CLEANFILES += fs/nuage@.service
fs/nuage@.service: fs/nuage@.service.in
	$(fill_in)
