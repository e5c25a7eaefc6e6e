package rsyslog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/sinks"
)

// datagram is a connected UDP socket: one message in each datagram (RFC 5426
// section 3.1). What is written counts as delivered, unless the other side's
// kernel says by then that nobody listens.
type datagram struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	// timeout bounds one write.
	timeout time.Duration
	sent    int64
	good    int64
}

func dialDatagram(ctx context.Context, address string, timeout time.Duration) (*datagram, error) {
	dialer := net.Dialer{Timeout: timeout}
	c, err := dialer.DialContext(ctx, "udp", address)
	if err != nil {
		return nil, dialError(err)
	}
	d := &datagram{conn: c.(*net.UDPConn), timeout: timeout}
	if d.raw, err = d.conn.SyscallConn(); err != nil {
		c.Close()
		return nil, localError(err)
	}
	return d, nil
}

// alive takes the error that the socket holds: a refusal that arrived since
// the last write.
func (d *datagram) alive() error {
	var number int
	var option error
	err := d.raw.Control(func(fd uintptr) { number, option = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR) })
	if err == nil {
		err = option
	}
	if err != nil {
		return localError(err)
	}
	if number != 0 {
		return datagramError(syscall.Errno(number))
	}
	return nil
}

func (d *datagram) write(ctx context.Context, frames []byte, lengths []int) error {
	stop := context.AfterFunc(ctx, func() { d.conn.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	d.conn.SetWriteDeadline(time.Now().Add(d.timeout))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, n := range lengths {
		k, err := d.conn.Write(frames[:n])
		if err != nil {
			return datagramError(err)
		}
		d.sent += int64(k)
		frames = frames[n:]
	}
	return nil
}

func (d *datagram) written() int64 { return d.sent }

func (d *datagram) place() int64 { return d.sent }

// confirmed knows nothing between two Sends: a refusal does not say which
// datagram it is for.
func (d *datagram) confirmed() (int64, error) { return d.good, nil }

func (d *datagram) wait(ctx context.Context) error {
	if err := d.alive(); err != nil {
		return err
	}
	d.good = d.sent
	return ctx.Err()
}

func (d *datagram) finish(context.Context) { d.conn.Close() }

func (d *datagram) abandon() { d.conn.Close() }

func datagramError(err error) error {
	class := sinks.ClassBroken
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		class, err = sinks.ClassConnect, fmt.Errorf("nobody listens on that UDP port: %w", err)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		class = sinks.ClassConnect
	case isTimeout(err):
		class = sinks.ClassTimeout
	case isLocal(err), errors.Is(err, syscall.EMSGSIZE):
		class = sinks.ClassLocal
	}
	return &sinks.Error{Class: class, Err: err}
}
