package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// syslogFake is a syslog server (RFC 5425 with octet counting, or RELP) that
// fails in all ways, and never lies: what it acknowledged it has.
type syslogFake struct {
	name    string // of its target
	address string
	conf    *tls.Config // nil: none
	relp    bool
	book    *book
	count   *counts
	dice    *dice
	faults  *deck
	sky     atomic.Pointer[weather]

	one      sync.Mutex // one connection is read at a time, the oldest first
	mu       sync.Mutex
	listener net.Listener
	resets   []int64 // when a connection was reset, Unix ns
	unread   int     // octets that the kernel had accepted and threw away then
}

func startSyslogFake(tb *bed, name string, conf *tls.Config, relp bool, b *book, c *counts, d *dice) *syslogFake {
	s := &syslogFake{name: name, conf: conf, relp: relp, book: b, count: c, dice: d}
	s.faults = newDeck(d, syslogFaults)
	if relp {
		s.faults = newDeck(d, relpFaults)
	}
	s.sky.Store(&fine)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listening: %v", err)
	}
	s.address = l.Addr().String()
	s.listen(l)
	tb.Cleanup(func() { s.close() })
	return s
}

func (s *syslogFake) listen(l net.Listener) {
	s.mu.Lock()
	s.listener = l
	s.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c.(*net.TCPConn))
		}
	}()
}

func (s *syslogFake) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener.Close()
}

func (s *syslogFake) turn(to weather) {
	was := s.sky.Swap(&to)
	switch {
	case to.gone && !was.gone:
		s.close()
		s.count.add(s.name + " gone")
	case !to.gone && was.gone:
		if l := listenAgain(s.address); l != nil {
			s.listen(l)
			return
		}
		s.book.find("rig", "the port %s of the fake %s is taken by somebody else", s.address, s.name)
	}
}

var (
	syslogFaults = []string{"hangs", "resets", "half-closes", "closes", "reads slowly"}
	relpFaults   = []string{"hangs", "resets", "half-closes", "closes", "reads slowly", "answers 500", "serverclose", "answers late", "keeps and resets"}
)

func (s *syslogFake) serve(c *net.TCPConn) {
	defer c.Close()
	// A server that read two connections at once would mix up the order itself.
	s.one.Lock()
	defer s.one.Unlock()
	var conn net.Conn = c
	if s.conf != nil {
		t := tls.Server(c, s.conf)
		t.SetDeadline(time.Now().Add(5 * time.Second))
		if t.Handshake() != nil {
			return
		}
		t.SetDeadline(time.Time{})
		conn = t
	}
	h := &session{s: s, tcp: c, conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
	if s.relp {
		h.relp()
	} else {
		h.frames()
	}
}

// session is one connection.
type session struct {
	s      *syslogFake
	tcp    *net.TCPConn
	conn   net.Conn
	in     *bufio.Reader
	ending bool  // we have said that we will say no more
	err    error // with which reading ended
}

// fault throws the dice for the next message; "" is none.
func (h *session) fault() string {
	sky := h.s.sky.Load()
	if h.ending {
		return ""
	}
	if sky.gone {
		return "closes"
	}
	if sky.faultIn == 0 || !h.s.dice.chance(sky.faultIn*100) {
		return ""
	}
	f := h.s.faults.deal()
	h.s.count.add(h.s.name + " " + f)
	return f
}

// common plays the faults that are the same for both protocols.
func (h *session) common(fault string) {
	switch fault {
	case "hangs":
		time.Sleep(h.s.dice.between(500*time.Millisecond, 4*time.Second))
	case "reads slowly":
		h.in = bufio.NewReader(slowReader{h.in})
	case "half-closes":
		h.halfClose()
	}
}

// halfClose says that no more will be said; what still comes is read.
func (h *session) halfClose() {
	h.ending = true
	if c, ok := h.conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
	}
	h.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
}

// frames reads RFC 5425 until the connection ends.
func (h *session) frames() {
	for {
		fault := h.fault()
		switch fault {
		case "resets":
			h.drain()
			h.s.reset(h.tcp)
			return
		case "closes":
			h.halfClose() // a close that throws nothing away
		default:
			h.common(fault)
		}
		if !h.frame() {
			// By its deadline, it may be: the kernel may hold more. Or the sender was
			// killed with something unread, and so reset what was on its way.
			if h.ending || errors.Is(h.err, syscall.ECONNRESET) {
				h.s.note(h.tcp)
			}
			return
		}
	}
}

// frame reads one message and keeps it; false: there is none.
func (h *session) frame() bool {
	head, err := h.in.ReadSlice(' ')
	if err != nil {
		h.err = err
		return false
	}
	n, err := strconv.Atoi(string(head[:len(head)-1]))
	if err != nil || n < 1 || n > 1<<20 {
		h.s.book.find("protocol", "%s: a frame begins %q", h.s.name, head)
		return false
	}
	buf := make([]byte, n)
	if _, err := io.ReadFull(h.in, buf); err != nil {
		h.err = err
		return false
	}
	h.keep(buf)
	return true
}

func (h *session) keep(message []byte) {
	msg, err := messageOf(message)
	if err != nil {
		h.s.book.find("protocol", "%s: %v: %.200q", h.s.name, err, message)
		return
	}
	h.s.book.arrived(arrival{target: h.s.name, payload: msg})
}

// drain reads what the kernel has taken so far: RFC 5425 has no
// acknowledgements, so that a sender takes it for delivered.
func (h *session) drain() {
	until := time.Now().Add(time.Second)
	for time.Now().Before(until) {
		h.conn.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		if h.in.Buffered() == 0 {
			if _, err := h.in.Peek(1); errors.Is(err, os.ErrDeadlineExceeded) {
				return
			} else if err != nil {
				return
			}
		}
		h.conn.SetReadDeadline(time.Now().Add(time.Second)) // a begun message comes whole
		if !h.frame() {
			return
		}
	}
}

func (s *syslogFake) reset(c *net.TCPConn) {
	s.note(c)
	c.SetLinger(0)
	c.Close()
}

// note remembers that a connection ends, and what the kernel may throw away with it.
func (s *syslogFake) note(c *net.TCPConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resets = append(s.resets, time.Now().UnixNano())
	s.unread += waiting(c) + 64<<10 // what comes until it is closed, and what is decrypted
}

// ended returns when connections ended with something unread, as far as is known.
func (s *syslogFake) ended() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.resets)
}

// waiting is how many octets the kernel holds for a connection.
func waiting(c *net.TCPConn) (n int) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) {
		syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCINQ, uintptr(unsafe.Pointer(&n)))
	})
	return n
}

// messageOf returns MSG of an RFC 5424 message.
func messageOf(m []byte) ([]byte, error) {
	rest := m
	for range 6 { // PRI and VERSION, TIMESTAMP, HOSTNAME, APP-NAME, PROCID, MSGID
		at := bytes.IndexByte(rest, ' ')
		if at < 1 {
			return nil, errors.New("the header is cut off")
		}
		rest = rest[at+1:]
	}
	if m[0] != '<' {
		return nil, errors.New("no PRI")
	}
	if rest[0] == '-' {
		rest = rest[1:]
	} else {
		for len(rest) > 0 && rest[0] == '[' {
			end := elementEnd(rest)
			if end < 0 {
				return nil, errors.New("structured data without an end")
			}
			rest = rest[end:]
		}
	}
	if len(rest) == 0 {
		return nil, nil
	}
	if rest[0] != ' ' {
		return nil, fmt.Errorf("%.20q behind the structured data", rest)
	}
	return bytes.TrimPrefix(rest[1:], []byte("\xEF\xBB\xBF")), nil
}

// elementEnd returns where an SD-ELEMENT ends, -1 if it does not: at the first
// "]" that is not escaped.
func elementEnd(s []byte) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ']':
			return i + 1
		}
	}
	return -1
}
