package auth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxSocketPath is what fits sun_path with its final NUL (unix(7)).
const maxSocketPath = 107

// unixListener is a Unix socket that removes itself, and only itself, when it is closed.
type unixListener struct {
	*net.UnixListener
	path  string
	lock  *os.File
	stamp os.FileInfo
	close func() error
}

// listenUnix opens a socket that only its owner may connect to. One that a
// dead daemon has left is replaced; one that somebody listens on is not, and
// what is no socket is never touched.
func listenUnix(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path has %d bytes, a socket's may have %d: choose a shorter one", len(path), maxSocketPath)
	}
	lock, err := lockSocket(path)
	if err != nil {
		return nil, err
	}
	ln, err := bindUnix(path)
	if err != nil {
		lock.Close()
		return nil, err
	}
	l := &unixListener{UnixListener: ln, path: path, lock: lock}
	l.close = sync.OnceValue(l.shut)
	if l.stamp, err = os.Lstat(path); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// lockSocket makes sure that two daemons do not both find the same socket
// dead. The lock's file stays: to remove it would let a third one in.
func lockSocket(path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.New("another daemon has it (" + path + ".lock is locked)")
		}
		return nil, fmt.Errorf("locking %s.lock: %w", path, err)
	}
	return f, nil
}

func bindUnix(path string) (*net.UnixListener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	// The mode of the descriptor becomes that of the file when it is bound, so
	// that there is no moment at which others may connect.
	only := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		if err := c.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), 0o600) }); err != nil {
			return err
		}
		return failed
	}}
	ln, err := only.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	socket := ln.(*net.UnixListener)
	socket.SetUnlinkOnClose(false)
	return socket, nil
}

func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode().Type() != fs.ModeSocket {
		return errors.New("there is something that is not a socket: remove it, or choose another path")
	}
	c, err := net.DialTimeout("unix", path, 2*time.Second)
	switch {
	case err == nil:
		c.Close()
		return errors.New("another program listens on it")
	case errors.Is(err, unix.ECONNREFUSED):
		return os.Remove(path)
	}
	return fmt.Errorf("finding out whether somebody listens on it: %w", err)
}

func (l *unixListener) Close() error { return l.close() }

func (l *unixListener) shut() error {
	defer l.lock.Close()
	// Removed while it still listens: nobody finds it dead.
	if st, err := os.Lstat(l.path); err == nil && l.stamp != nil && os.SameFile(st, l.stamp) {
		if err := os.Remove(l.path); err != nil {
			l.UnixListener.Close()
			return err
		}
	}
	return l.UnixListener.Close()
}
