package ownfiles

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// madeUp are the file systems whose regular files are no files: what is read is made by the kernel as
// it is asked for, such as the environment, memory and command lines of processes. They have no end
// to follow. pstore is not among them: it holds what kernels have logged.
var madeUp = map[uint32]string{
	unix.PROC_SUPER_MAGIC:      "proc",
	unix.SYSFS_MAGIC:           "sysfs",
	unix.SECURITYFS_MAGIC:      "securityfs",
	unix.DEBUGFS_MAGIC:         "debugfs",
	unix.TRACEFS_MAGIC:         "tracefs",
	unix.CGROUP_SUPER_MAGIC:    "cgroup",
	unix.CGROUP2_SUPER_MAGIC:   "cgroup2",
	unix.BPF_FS_MAGIC:          "bpf",
	unix.EFIVARFS_MAGIC:        "efivarfs",
	unix.SELINUX_MAGIC:         "selinuxfs",
	unix.SMACK_MAGIC:           "smackfs",
	unix.BINFMTFS_MAGIC:        "binfmt_misc",
	unix.BINDERFS_SUPER_MAGIC:  "binder",
	unix.DEVPTS_SUPER_MAGIC:    "devpts",
	unix.NSFS_MAGIC:            "nsfs",
	unix.PID_FS_MAGIC:          "pidfs",
	unix.SOCKFS_MAGIC:          "sockfs",
	unix.ANON_INODE_FS_MAGIC:   "anon_inode",
	unix.RDTGROUP_SUPER_MAGIC:  "resctrl",
	unix.OPENPROM_SUPER_MAGIC:  "openpromfs",
	unix.USBDEVICE_SUPER_MAGIC: "usbdevfs",
	unix.XENFS_SUPER_MAGIC:     "xenfs",
	unix.SECRETMEM_MAGIC:       "secretmem",
	0x62656570:                 "configfs",   // fs/configfs/mount.c
	0x65735543:                 "fusectl",    // fs/fuse/control.c
	0x19800202:                 "mqueue",     // ipc/mqueue.c
	0x67596969:                 "rpc_pipefs", // net/sunrpc/rpc_pipe.c
	0x6e667364:                 "nfsd",       // fs/nfsd/nfsctl.c
}

// checkKind refuses files of file systems that the kernel makes up.
func checkKind(fd int) error {
	var fs unix.Statfs_t
	var err error
	for {
		if err = unix.Fstatfs(fd, &fs); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("finding out which file system it is on: %w", err)
	}
	if name, ok := madeUp[uint32(fs.Type)]; ok {
		return fmt.Errorf("it is on %s, which the kernel makes up as it is read: there are no logs there", name)
	}
	return nil
}
