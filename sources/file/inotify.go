package file

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watchMask is what is watched in a directory: names that come and go. What is
// written to the files is found by looking at them: an event for each write
// costs more.
const watchMask = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// event is one inotify event.
type event struct {
	watch  int32
	mask   uint32
	cookie uint32
	name   string
}

// instance is the inotify instance that all sources of the process share: a user may
// have 128 of them, and a process one for each of its sources would use them up for others.
//
// Life: the first notifier makes it, the last one closes it.
type instance struct {
	mu      sync.Mutex // guards all below, and what notifiers have in their queues
	file    *os.File   // nil: there is none
	fd      int
	watches map[int32]map[*notifier]bool // who wants to be told
	all     map[*notifier]bool
	refuse  error     // for tests: why none is to be had
	stalled bool      // for tests: events stay in the kernel
	drained time.Time // the kernel had no event that was not read; by its clock
}

// shared is the process's instance.
var shared instance

// join makes n one of those that are told. The caller holds no lock.
func (i *instance) join(n *notifier) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.file == nil {
		if i.refuse != nil {
			return i.refuse
		}
		fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
		if err != nil {
			return fmt.Errorf("making an inotify instance (fs.inotify.max_user_instances): %w", err)
		}
		i.file, i.fd = os.NewFile(uintptr(fd), "inotify"), fd
		i.watches, i.all, i.drained = map[int32]map[*notifier]bool{}, map[*notifier]bool{}, kernelNow()
		go i.run(i.file)
	}
	i.all[n] = true
	return nil
}

// part takes n out.
func (i *instance) part(n *notifier) {
	if file := i.leave(n); file != nil {
		file.Close() // waits for run, which may wait for mu
	}
}

// leave is part with what is left to be closed, if anything is.
func (i *instance) leave(n *notifier) (last *os.File) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.all[n] {
		return nil
	}
	n.end = n.caughtUp()
	delete(i.all, n)
	for watch := range i.watches {
		i.remove(n, watch)
	}
	if len(i.all) == 0 {
		last, i.file = i.file, nil
	}
	return last
}

// run reads events and hands them on until file is closed.
func (i *instance) run(file *os.File) {
	conn, err := file.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 64<<10)
	for err == nil {
		err = conn.Read(func(uintptr) bool { return i.read(file, buf) })
	}
}

// read hands on what the kernel has; false if that is nothing. Between the kernel's queue and
// those of the notifiers nothing is ever on its way while mu is not held.
func (i *instance) read(file *os.File, buf []byte) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.file != file {
		return true // it was closed: the next Read says so
	}
	if i.stalled {
		return false
	}
	return i.readOnce(buf)
}

// readOnce hands on what the kernel has for one read; false if that is nothing. i.mu is held.
func (i *instance) readOnce(buf []byte) bool {
	now := kernelNow()
	size, err := unix.Read(i.fd, buf)
	if err == unix.EAGAIN {
		i.drained = now
		return false
	}
	if err != nil || size <= 0 {
		return true
	}
	for _, e := range parseEvents(buf[:size]) {
		i.hand(e)
	}
	if size < len(buf)/2 {
		i.drained = now // it was all that there was
	}
	return true
}

// drainMost bounds the reads of one drain: eight times what the kernel keeps by default.
const drainMost = 64

// drain hands on all that the kernel has. i.mu is held.
func (i *instance) drain() {
	buf := make([]byte, 64<<10)
	for n := 0; n < drainMost && i.readOnce(buf); n++ {
	}
}

// hand gives an event to those whose watch it is of. i.mu is held.
func (i *instance) hand(e event) {
	if e.mask&unix.IN_Q_OVERFLOW != 0 {
		for n := range i.all {
			n.put(e, i.drained)
		}
		return
	}
	for n := range i.watches[e.watch] {
		n.put(e, i.drained)
	}
	if e.mask&unix.IN_IGNORED != 0 {
		delete(i.watches, e.watch)
	}
}

// quiet reports whether the kernel has no event that was not read. i.mu is held.
func (i *instance) quiet() bool {
	now := kernelNow()
	waiting, err := unix.IoctlGetInt(i.fd, unix.TIOCINQ)
	if err != nil || waiting > 0 {
		return false
	}
	i.drained = now
	return true
}

// remove takes n's watch away, and the kernel's if it was the last one's. i.mu is held.
func (i *instance) remove(n *notifier, watch int32) {
	of := i.watches[watch]
	if !of[n] {
		return
	}
	delete(of, n)
	if len(of) == 0 {
		delete(i.watches, watch)
		unix.InotifyRmWatch(i.fd, uint32(watch))
	}
}

// parseEvents takes apart what inotify(7) describes: events of a fixed head
// and a NUL-padded name.
func parseEvents(buf []byte) []event {
	var events []event
	for len(buf) >= unix.SizeofInotifyEvent {
		head := *(*unix.InotifyEvent)(unsafe.Pointer(&buf[0]))
		buf = buf[unix.SizeofInotifyEvent:]
		if int(head.Len) > len(buf) {
			break
		}
		name, _, _ := bytes.Cut(buf[:head.Len], []byte{0})
		buf = buf[head.Len:]
		events = append(events, event{head.Wd, head.Mask, head.Cookie, string(name)})
	}
	return events
}
