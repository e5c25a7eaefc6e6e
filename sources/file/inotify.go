package file

import (
	"bytes"
	"fmt"
	"os"
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

// notifier is an inotify instance. The caller must call close.
type notifier struct {
	file   *os.File
	fd     int
	events chan []event // closed when reading ends
	done   chan struct{}
}

func newNotifier() (*notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making an inotify instance (fs.inotify.max_user_instances): %w", err)
	}
	n := &notifier{
		file: os.NewFile(uintptr(fd), "inotify"), fd: fd,
		events: make(chan []event), done: make(chan struct{}),
	}
	go n.run()
	return n, nil
}

func (n *notifier) run() {
	defer close(n.events)
	buf := make([]byte, 64<<10)
	for {
		size, err := n.file.Read(buf)
		if err != nil {
			return
		}
		select {
		case n.events <- parseEvents(buf[:size]):
		case <-n.done:
			return
		}
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

// add watches a directory. Two paths of one directory get the same watch.
func (n *notifier) add(dir string) (int32, error) {
	watch, err := unix.InotifyAddWatch(n.fd, dir, watchMask)
	if err != nil {
		return -1, &os.PathError{Op: "inotify_add_watch", Path: dir, Err: err}
	}
	return int32(watch), nil
}

func (n *notifier) remove(watch int32) {
	unix.InotifyRmWatch(n.fd, uint32(watch))
}

func (n *notifier) close() {
	close(n.done)
	n.file.Close()
}
