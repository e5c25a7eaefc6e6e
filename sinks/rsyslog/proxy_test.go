package rsyslog

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/testbed"
	"github.com/lbshipd/lbshipd/record"
)

// Faults of a proxy, beside resets, halfCloses, closes and hangs.
const (
	trickles   fault = "trickles, then resets"
	stallsOnce fault = "stalls and goes on"
)

// proxy stands between a sink and a server, lets so many octets through on
// each connection and then does wrong what plan says.
type proxy struct {
	Address string
	server  string
	plan    func(connection int) (octets int64, what fault)

	mu       sync.Mutex
	said     map[fault]int
	received map[string]func() int64 // by the client's address: what the kernel of this side got
	end      chan struct{}
}

func startProxy(t testing.TB, server string, plan func(int) (int64, fault)) *proxy {
	x := &proxy{server: server, plan: plan, said: map[fault]int{}, received: map[string]func() int64{}, end: make(chan struct{})}
	t.Cleanup(func() { close(x.end) })
	connection := -1
	x.Address = listen(t, func(c *net.TCPConn) {
		x.mu.Lock()
		connection++
		octets, what := x.plan(connection)
		x.received[c.RemoteAddr().String()] = func() int64 { return octetsReceived(t, c) }
		x.mu.Unlock()
		x.serve(t, c, octets, what)
	})
	return x
}

// octetsReceived is how many octets the kernel has taken and acknowledged.
func octetsReceived(t testing.TB, c *net.TCPConn) (n int64) {
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				n = int64(info.Bytes_received)
			}
		})
	}
	if err != nil {
		return -1
	}
	return n
}

// got is what the kernel got of a connection, named by the client's address.
func (x *proxy) got(client string) int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n, ok := x.received[client]; ok {
		return n()
	}
	return -1 // not accepted yet
}

// cut ends a connection and keeps what its kernel had got.
func (x *proxy) cut(c *net.TCPConn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := x.received[c.RemoteAddr().String()]()
	x.received[c.RemoteAddr().String()] = func() int64 { return n }
	c.Close()
}

func (x *proxy) serve(t testing.TB, c *net.TCPConn, octets int64, what fault) {
	defer x.cut(c)
	up, err := net.Dial("tcp", x.server)
	if err != nil {
		t.Error(err)
		return
	}
	defer up.Close()
	go func() { io.Copy(c, up); c.CloseWrite() }()
	if what == "" {
		io.Copy(up, c)
		return
	}
	if what == trickles {
		c.SetReadBuffer(32 << 10)
		buf := make([]byte, 6<<10)
		for start := time.Now(); time.Since(start) < 4*time.Second; time.Sleep(10 * time.Millisecond) { // what makes it slow
			n, err := c.Read(buf)
			up.Write(buf[:n])
			if err != nil {
				return
			}
		}
	} else if _, err := io.CopyN(up, c, octets); err != nil {
		return
	}
	x.mu.Lock()
	x.said[what]++
	x.mu.Unlock()
	switch what {
	case resets, trickles:
		c.SetLinger(0)
	case halfCloses:
		c.CloseWrite()
		time.Sleep(100 * time.Millisecond) // more arrives, which nobody reads
	case hangs:
		select {
		case <-x.end:
		case <-time.After(1500 * time.Millisecond): // longer than the client's time limit
		}
	case stallsOnce:
		time.Sleep(200 * time.Millisecond) // shorter than that
		io.CopyN(up, c, 4<<20)
	}
}

// Whatever happens to a connection at whatever octet, what counts as delivered
// was in the kernel of the other side by then.
func TestDeliveredWasReceivedWhateverHappens(t *testing.T) {
	t.Parallel()
	p := newPKI(t)
	kinds := []fault{resets, halfCloses, closes, hangs, stallsOnce, trickles, resets}
	for _, protocol := range []string{"gtls", "ossl", "tcp"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			r, _ := start(t, p, protocol, "", testbed.RsyslogOptions{})
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			var x *proxy
			x = startProxy(t, r.Address, func(connection int) (int64, fault) {
				if connection < len(kinds) {
					return 3000 + random.Int64N(6<<20), kinds[connection]
				}
				// A connection that ended before its fault's time was none: on a busy machine a handshake takes too long.
				for _, what := range kinds {
					if x.said[what] == 0 {
						return 3000 + random.Int64N(6<<20), what
					}
				}
				return 0, ""
			})
			c := targetOf(p, protocol, x.Address)
			c.Timeout = config.Duration(time.Second)
			g := newRig(t, c, bundleFor(p, protocol))
			var client string
			g.deps.Using = func(string) { client = g.connection.(*stream).wire.LocalAddr().String() }

			const lines = 200
			var batches []*record.Batch
			sent, parts, failures := 0, 0, 0
			for begun := time.Now(); len(x.faults()) < 6 || failures == 0 || x.connections() <= len(kinds); {
				if time.Since(begun) > 8*time.Minute {
					t.Fatalf("after %d messages, %d failed Sends and %d connections only these faults happened: %v", sent, failures, x.connections(), x.faults())
				}
				for len(batches) < 150 {
					batches = append(batches, batchFrom(t, sent, lines))
					sent += lines
				}
				res, err := g.Send(within(t, 30*time.Second), batches)
				if err != nil {
					failures++
				}
				if res.Batches > 0 {
					if err != nil {
						parts++
					}
					until(t, "the proxy has the connection", func() bool { return x.got(client) >= 0 })
					place := g.ends[res.Batches-1].wire
					if got := x.got(client); place > got {
						t.Fatalf("%d octets count as delivered, the other side's kernel got %d (%v)", place, got, err)
					}
				}
				for _, b := range batches[:res.Batches] {
					b.Release()
				}
				batches = batches[res.Batches:]
			}
			t.Logf("%d messages, %d failed Sends, %d of them with a part that counts; %v", sent, failures, parts, x.faults())
			if failures == 0 {
				t.Error("no Send has failed")
			}
		})
	}
}

func (x *proxy) faults() map[fault]int {
	x.mu.Lock()
	defer x.mu.Unlock()
	said := map[fault]int{}
	for what, n := range x.said {
		said[what] = n
	}
	return said
}

func (x *proxy) connections() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.received)
}
