package doctor

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// identity is whom the daemon runs as, or would.
type identity struct {
	name     string
	uid, gid int
	groups   []int // supplementary
	readsAll bool  // has CAP_DAC_READ_SEARCH or CAP_DAC_OVERRIDE that counts for this machine's files
	from     string
}

// errOther says that only root can find out what another user may do.
var errOther = errors.New("only root, or the daemon's user itself, can find that out")

// Capabilities that let a process read any file (capabilities(7)).
const readCapabilities = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH

// lookup finds a user and its groups in the user database.
func lookup(name string) (identity, error) {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return identity{}, fmt.Errorf("there is no user %q on this machine", name)
		}
	}
	id := identity{name: u.Username, from: "user " + u.Username}
	if id.uid, err = strconv.Atoi(u.Uid); err != nil {
		return identity{}, fmt.Errorf("the user %q has the number %q", name, u.Uid)
	}
	if id.gid, err = strconv.Atoi(u.Gid); err != nil {
		return identity{}, fmt.Errorf("the user %q has the group %q", name, u.Gid)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return identity{}, fmt.Errorf("finding the groups of %q: %w", name, err)
	}
	for _, text := range groups {
		if gid, err := strconv.Atoi(text); err == nil {
			id.groups = append(id.groups, gid)
		}
	}
	id.readsAll = id.uid == 0
	return id, nil
}

// own is who asks.
func own() identity {
	id := identity{uid: os.Geteuid(), gid: os.Getegid(), from: "whoever runs doctor"}
	id.groups, _ = os.Getgroups()
	id.name = userName(id.uid)
	id.readsAll = effective("/proc/self")&readCapabilities != 0
	return id
}

// ofProcess is whom a process runs as, in numbers of this machine.
func ofProcess(proc string) (identity, error) {
	text, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return identity{}, err
	}
	id := identity{uid: -1, gid: -1}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		numbers := strings.Fields(value)
		switch {
		case key == "Uid" && len(numbers) > 1:
			id.uid, _ = strconv.Atoi(numbers[1])
		case key == "Gid" && len(numbers) > 1:
			id.gid, _ = strconv.Atoi(numbers[1])
		case key == "Groups":
			for _, n := range numbers {
				if gid, err := strconv.Atoi(n); err == nil {
					id.groups = append(id.groups, gid)
				}
			}
		}
	}
	if id.uid < 0 || id.gid < 0 {
		return identity{}, fmt.Errorf("%s/status does not say whose it is", proc)
	}
	id.name, id.from = userName(id.uid), "the running daemon, user "+userName(id.uid)
	// In a user namespace of its own a capability does not reach the files of other users.
	mine, _ := os.Readlink("/proc/self/ns/user")
	its, err := os.Readlink(filepath.Join(proc, "ns/user"))
	id.readsAll = effective(proc)&readCapabilities != 0 && (err != nil || its == mine)
	return id, nil
}

// effective are the effective capabilities of a process; 0 if they cannot be seen.
func effective(proc string) uint64 {
	text, err := os.ReadFile(filepath.Join(proc, "status"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps, _ := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			return caps
		}
	}
	return 0
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

func groupName(gid int) string {
	if g, err := user.LookupGroupId(strconv.Itoa(gid)); err == nil {
		return g.Name
	}
	return strconv.Itoa(gid)
}

// group is the name of its own group.
func (id *identity) group() string { return groupName(id.gid) }

// isIn reports whether it has a group.
func (id *identity) isIn(gid int) bool { return id.gid == gid || slices.Contains(id.groups, gid) }

// as runs do with the rights of the identity: the kernel itself decides what it may, by
// modes, ACLs and whatever else there is. do must only look, and start no goroutine.
func (id *identity) as(do func()) error {
	if os.Geteuid() != 0 {
		if id.uid != os.Geteuid() {
			return errOther
		}
		do()
		return nil
	}
	if id.readsAll {
		do()
		return nil
	}
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		back, err := id.become()
		if err == nil {
			do()
			err = back()
		}
		if err == nil {
			runtime.UnlockOSThread()
		} // else the runtime throws the thread away, and with it what it may not do any more
		failed <- err
	}()
	return <-failed
}

// become gives the calling thread, and it alone, the identity, until back is called. The saved user
// stays root, which is how it comes back; it counts for nothing else (credentials(7)).
func (id *identity) become() (back func() error, err error) {
	was, err := unix.Getgroups()
	if err != nil {
		return nil, fmt.Errorf("finding our groups: %w", err)
	}
	gid := unix.Getegid()
	if err := setThread(append(slices.Clone(id.groups), id.gid), id.gid, id.uid); err != nil {
		return nil, fmt.Errorf("taking the rights of %s: %w", id.name, err)
	}
	return func() error {
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0); e != 0 {
			return fmt.Errorf("becoming root again: %w", e)
		}
		return setThread(was, gid, 0)
	}, nil
}

// setThread sets groups, group and user of the calling thread. The functions of package syscall
// would set them for all threads.
func setThread(groups []int, gid, uid int) error {
	list := make([]uint32, len(groups)+1) // never empty, so that there is an address
	for i, g := range groups {
		list[i] = uint32(g)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&list[0])), 0); e != 0 {
		return e
	}
	const keep = ^uintptr(0)
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), keep); e != 0 {
		return e
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), keep); e != 0 {
		return e
	}
	return nil
}

// denial is why a file cannot be come at.
type denial struct {
	at  string // the file, or the folder on the way to it that is in the way
	dir bool   // it is a folder on the way
	err error
}

// mayRead finds out what keeps the identity from reading a file or folder; nil if nothing does.
func (id *identity) mayRead(path string) (*denial, error) { return id.may(path, unix.R_OK) }

// may is mayRead for any mode of access(2).
func (id *identity) may(path string, mode uint32) (d *denial, err error) {
	err = id.as(func() { d = deniedAt(path, mode) })
	return d, err
}

// deniedAt is asked by a thread that has the rights in question.
func deniedAt(path string, mode uint32) *denial {
	err := unix.Access(path, mode)
	if err == nil {
		return nil
	}
	if errors.Is(err, unix.EACCES) {
		for at := "/"; ; {
			rest, _ := filepath.Rel(at, path)
			first, _, more := strings.Cut(rest, "/")
			if e := unix.Access(at, unix.X_OK); e != nil && at != path {
				return &denial{at, true, e}
			}
			if !more || first == "." {
				break
			}
			at = filepath.Join(at, first)
		}
	}
	return &denial{path, false, err}
}
