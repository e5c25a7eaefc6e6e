package rsyslog

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// wire is a TCP connection that counts what is written, and whose writes end
// only when nothing moves any more: TLS cannot go on after a write that failed.
type wire struct {
	*net.TCPConn
	raw     syscall.RawConn
	timeout time.Duration
	written atomic.Int64 // octets given to the kernel
	seen    atomic.Int64 // what acknowledged said last
	woken   atomic.Bool  // writes are to end

	ahead *bufio.Reader // nil: reads go to the connection
	many  func() bool   // so much is to come that it is better read together
}

var errWoken = errors.New("write interrupted")

// wake ends a write that is waiting.
func (w *wire) wake() {
	w.woken.Store(true)
	w.SetWriteDeadline(time.Unix(1, 0))
}

// Write writes all of p. It fails if neither was a byte taken by this kernel
// nor one acknowledged by the other for as long as the timeout.
func (w *wire) Write(p []byte) (done int, err error) {
	for {
		w.SetWriteDeadline(time.Now().Add(w.timeout))
		if w.woken.Load() {
			return done, errWoken
		}
		n, err := w.TCPConn.Write(p[done:])
		done += n
		w.written.Add(int64(n))
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return done, err
		}
		before := w.seen.Load()
		if now, aerr := w.acknowledged(); aerr != nil || n == 0 && now <= before {
			return done, err
		}
	}
}

// ReadFrom keeps io.Copy from going around Write.
func (w *wire) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w}, r)
}

// acknowledged returns how many of the octets written the other kernel has
// acknowledged.
func (w *wire) acknowledged() (int64, error) {
	// Read before the kernel's count: a write in between makes the result
	// smaller, not larger.
	written := w.written.Load()
	var queued int
	var ioctl error
	err := w.raw.Control(func(fd uintptr) { queued, ioctl = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	if err == nil {
		err = ioctl
	}
	if err != nil {
		return 0, err
	}
	w.seen.Store(written - int64(queued))
	return written - int64(queued), nil
}

// ackAtOnce has this kernel acknowledge what it receives without the usual
// delay of 40 ms. librelp writes each answer by itself and leaves Nagle's
// algorithm on, so that its next answers wait for that acknowledgement. The kernel
// forgets the wish now and then. A failure costs time only.
func (w *wire) ackAtOnce() {
	w.raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
}

// Read reads ahead, so that a TLS record does not cost a system call each, if
// there is a buffer to read into.
func (w *wire) Read(p []byte) (int, error) {
	if w.ahead == nil {
		return w.TCPConn.Read(p)
	}
	return w.ahead.Read(p)
}

// unhurried is what wire.ahead reads from.
type unhurried struct{ *wire }

func (u unhurried) Read(p []byte) (int, error) {
	u.ackAtOnce()
	if u.many() {
		time.Sleep(gatherTime)
	}
	return u.TCPConn.Read(p)
}

// tcpEstablished is the kernel's TCP_ESTABLISHED. A connection that the other
// side has closed is in another state (CLOSE_WAIT, CLOSE).
const tcpEstablished = 1

func (w *wire) established() (bool, error) {
	var info *unix.TCPInfo
	var option error
	err := w.raw.Control(func(fd uintptr) { info, option = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
	if err == nil {
		err = option
	}
	return err == nil && info.State == tcpEstablished, err
}
