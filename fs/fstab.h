/*
 * fstab.h - `mount.nuage`: the mount that mount(8) asks for.
 */
#ifndef FS_FSTAB_H
#define FS_FSTAB_H

#define FSTAB_NAME "mount.nuage"	/* the end of its argv[0] */

/* As mount(8) calls its helpers; an exit status of mount(8). */
int	fstab_mount(int argc, char **argv);

#endif
