package file

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inode names a file while a descriptor of it is open.
type inode struct{ dev, ino uint64 }

// stat is what is looked at to see whether a file changed.
type stat struct {
	size  int64
	mtime int64 // Unix nanoseconds
	links uint64
}

func fstat(fd int) (stat, inode, uint32, error) {
	var st syscall.Stat_t
	for {
		err := syscall.Fstat(fd, &st)
		if err == syscall.EINTR {
			continue
		}
		return stat{st.Size, st.Mtim.Nano(), uint64(st.Nlink)}, inode{st.Dev, st.Ino}, st.Mode, err
	}
}

// inputKey returns the key of the open file: "major.minor:inode:mark", where
// mark is what tells two holders of one inode number apart: the birth time in
// Unix nanoseconds ("b", hexadecimal), else the inode's generation ("g",
// hexadecimal), else "-". A compressed file that was rotated while nobody looked has its birth time behind
// a "z" ("y" if it is only announced), and behind "-b" when what is in it began, about.
func inputKey(fd int, id inode) string {
	return fmt.Sprintf("%s:%d:%s", deviceOf(id.dev), id.ino, inodeMark(fd))
}

// birth returns the birth time of the open file in Unix nanoseconds, 0 if the
// file system knows none.
func birth(fd int) uint64 {
	var stx unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &stx)
	if err != nil || stx.Mask&unix.STATX_BTIME == 0 || stx.Btime.Sec == 0 {
		return 0
	}
	return uint64(stx.Btime.Sec)*1e9 + uint64(stx.Btime.Nsec)
}

func inodeMark(fd int) string {
	if b := birth(fd); b != 0 {
		return fmt.Sprintf("b%x", b)
	}
	const fsIocGetVersion = 0x80087601 // _IOR('v', 1, long), linux/fs.h
	var generation uint64
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), fsIocGetVersion, uintptr(unsafe.Pointer(&generation)))
	if errno == 0 && uint32(generation) != 0 {
		return fmt.Sprintf("g%x", uint32(generation))
	}
	return "-"
}

// withoutDevice returns the part of a key that outlives a new device number,
// and false if it has no mark and so says too little.
func withoutDevice(key string) (string, bool) {
	_, rest, ok := strings.Cut(key, ":")
	return rest, ok && !strings.HasSuffix(rest, ":-")
}

// sameKey reports whether two keys may be of one file, whose device number may have changed.
func sameKey(a, b string) bool {
	_, x, _ := strings.Cut(a, ":")
	_, y, _ := strings.Cut(b, ":")
	return x == y
}

// keyInode returns the inode number in a key.
func keyInode(key string) (string, bool) {
	_, rest, _ := strings.Cut(key, ":")
	ino, _, ok := strings.Cut(rest, ":")
	return ino, ok
}

// keyBirth returns the birth time in a key, in Unix nanoseconds, 0 if there is none.
func keyBirth(key string) uint64 {
	mark := key[strings.LastIndexByte(key, ':')+1:]
	mark, ok := strings.CutPrefix(mark[strings.LastIndexByte(mark, '-')+1:], "b")
	if !ok {
		return 0
	}
	born, err := strconv.ParseUint(mark, 16, 64)
	if err != nil {
		return 0
	}
	return born
}
