package rsyslog

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// fault is what a relpServer does wrong.
type fault string

const (
	answers500    fault = "answers 500"
	hangs         fault = "hangs"
	resets        fault = "resets"
	halfCloses    fault = "half-closes"
	closes        fault = "closes"
	closesAndSays fault = "serverclose"
	wrongTxnr     fault = "wrong transaction number"
	answersTwice  fault = "answers twice"
	talksGarbage  fault = "garbage"
	hugeAnswer    fault = "huge answer"
	isSlow        fault = "slow reads"
	outOfOrder    fault = "answers out of order"
	inPieces      fault = "answers in pieces"
)

// harmless reports whether the connection goes on with a fault: for so many messages.
func harmless(f fault) bool { return f == isSlow || f == outOfOrder || f == inPieces }

const harmlessFor = 2000

// relpServer is a RELP server that does wrong what plan says: at which message
// of a connection, counted from 0. What it answered with 200 it has kept.
type relpServer struct {
	Address string
	plan    func(connection int) (at int, what fault)

	mu          sync.Mutex
	connections int
	kept        []string
	said        map[fault]int // faults that happened
	closed      int           // sessions that were ended by close
	behind      int           // messages that came behind one that was answered with 500
	end         chan struct{}
}

func startRelpServer(t testing.TB, conf *tls.Config, plan func(int) (int, fault)) *relpServer {
	s := &relpServer{plan: plan, said: map[fault]int{}, end: make(chan struct{})}
	if plan == nil {
		s.plan = func(int) (int, fault) { return -1, "" }
	}
	t.Cleanup(func() { close(s.end) })
	s.Address = listen(t, func(c *net.TCPConn) {
		var stream net.Conn = c
		if conf != nil {
			stream = tls.Server(c, conf)
		}
		s.serve(c, stream)
	})
	return s
}

func (s *relpServer) keep(data string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, data)
}

func (s *relpServer) messages() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.kept...)
}

func (s *relpServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.kept)
}

func (s *relpServer) happened(what fault) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.said[what]
}

// command reads one frame, as strictly as librelp.
func (s *relpServer) command(in *bufio.Reader) (txnr int, command, data string, err error) {
	var length int
	header := make([]byte, 0, 64)
	for spaces := 0; spaces < 3; {
		c, err := in.ReadByte()
		if err != nil {
			return 0, "", "", err
		}
		if c == '\n' && spaces == 2 {
			if _, err := fmt.Sscanf(string(header), "%d %s 0", &txnr, &command); err != nil {
				return 0, "", "", fmt.Errorf("%q: %w", header, err)
			}
			return txnr, command, "", nil
		}
		if c == ' ' {
			spaces++
		} else if spaces != 1 && (c < '0' || c > '9') {
			return 0, "", "", fmt.Errorf("a header %q%c", header, c)
		}
		if header = append(header, c); len(header) > 60 {
			return 0, "", "", fmt.Errorf("a header %q", header)
		}
	}
	if _, err := fmt.Sscanf(string(header), "%d %s %d", &txnr, &command, &length); err != nil {
		return 0, "", "", fmt.Errorf("%q: %w", header, err)
	}
	if length > maxRelpData {
		return 0, "", "", fmt.Errorf("%d octets", length)
	}
	buf := make([]byte, length+1)
	if _, err := io.ReadFull(in, buf); err != nil {
		return 0, "", "", err
	}
	if buf[length] != '\n' {
		return 0, "", "", fmt.Errorf("no line feed at the end of %q", buf)
	}
	return txnr, command, string(buf[:length]), nil
}

func answer(c io.Writer, txnr int, data string) {
	fmt.Fprintf(c, "%d rsp %d %s\n", txnr, len(data), data)
}

func (s *relpServer) serve(c *net.TCPConn, stream net.Conn) {
	s.mu.Lock()
	at, what := s.plan(s.connections)
	s.connections++
	s.mu.Unlock()
	if what == isSlow {
		s.note(what)
		stream = slowConn{stream}
		c.SetReadBuffer(4096)
	}
	in := bufio.NewReader(stream)
	last, command, _, err := s.command(in)
	if err != nil || command != "open" {
		io.WriteString(stream, "0 serverclose 0\n")
		return
	}
	answer(stream, last, "200 OK\nrelp_version=0\nrelp_software=test\ncommands=syslog")
	var late []int // answered out of order
	for n := 0; ; n++ {
		txnr, command, data, err := s.command(in)
		if err != nil || txnr != last%maxTxnr+1 || harmless(what) && n == at+harmlessFor {
			io.WriteString(stream, "0 serverclose 0\n")
			return
		}
		last = txnr
		if command == "close" {
			s.mu.Lock()
			s.closed++
			s.mu.Unlock()
			fmt.Fprintf(stream, "%d rsp 0\n0 serverclose 0\n", txnr)
			return
		}
		if n == at && what == answersTwice {
			s.keep(data) // it answers with 200
		}
		if n == at && !s.fail(c, stream, buffered(in), txnr, what) {
			return
		}
		s.keep(data)
		switch {
		case what == outOfOrder && n >= at:
			if late = append(late, txnr); in.Buffered() > 0 && len(late) < 8 {
				break
			}
			s.note(what)
			for i := len(late) - 1; i >= 0; i-- {
				answer(stream, late[i], "200 OK")
			}
			late = late[:0]
		case what == inPieces && n >= at && n < at+3:
			s.note(what)
			for _, piece := range strings.SplitAfter(fmt.Sprintf("%d rsp 6 200 OK\n", txnr), "") {
				io.WriteString(stream, piece)
			}
		default:
			answer(stream, txnr, "200 OK")
		}
	}
}

func (s *relpServer) note(what fault) {
	s.mu.Lock()
	s.said[what]++
	s.mu.Unlock()
}

// fail does what is wrong instead of keeping a message, and reports whether the
// connection goes on.
func (s *relpServer) fail(c *net.TCPConn, stream net.Conn, rest io.Reader, txnr int, what fault) (goesOn bool) {
	switch what {
	case answers500:
		answer(stream, txnr, "500 the disk is full")
		s.note(what)
		in := bufio.NewReader(io.MultiReader(rest, stream))
		for {
			if _, _, _, err := s.command(in); err != nil {
				return false
			}
			s.mu.Lock()
			s.behind++
			s.mu.Unlock()
		}
	case hangs:
		s.note(what)
		<-s.end
		return false
	case resets:
		c.SetLinger(0)
	case halfCloses:
		c.CloseWrite()
		s.note(what)
		io.Copy(io.Discard, c)
		return false
	case closes:
	case closesAndSays:
		io.WriteString(stream, "0 serverclose 0\n")
	case wrongTxnr:
		answer(stream, txnr+5000, "200 OK")
	case answersTwice:
		answer(stream, txnr, "200 OK")
		answer(stream, txnr, "200 OK")
	case talksGarbage:
		io.WriteString(stream, "HTTP/1.1 400 Bad Request\r\n\r\n")
	case hugeAnswer:
		answer(stream, txnr, "200 "+strings.Repeat("x", maxRelpData))
	default:
		return true
	}
	s.note(what)
	if what != resets {
		// Wait until the client has read it and left: a close now could be a reset,
		// which takes away what was said.
		c.CloseWrite()
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		io.Copy(io.Discard, c)
	}
	return false
}

// buffered is what a reader has read ahead.
func buffered(in *bufio.Reader) io.Reader {
	ahead, _ := in.Peek(in.Buffered())
	return bytes.NewReader(ahead)
}

// slowConn reads little at a time.
type slowConn struct{ net.Conn }

func (s slowConn) Read(p []byte) (int, error) {
	time.Sleep(time.Millisecond) // what makes it slow
	return s.Conn.Read(p[:min(len(p), 2048)])
}
