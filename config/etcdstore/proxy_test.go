package etcdstore

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// proxy stands between Stores and an etcd of one member, without TLS.
type proxy struct {
	t        *testing.T
	listener net.Listener
	to       string

	mu      sync.Mutex
	conns   map[net.Conn]bool
	refuse  bool          // new connections are closed
	blocked chan struct{} // not nil: nothing passes until it is closed
	held    chan struct{} // not nil: no answer passes until it is closed
	// onWrite is asked what to do with a transaction that is on its way, once.
	onWrite func(t *transfer)
}

// transfer is a transaction on its way to etcd.
type transfer struct {
	client, server net.Conn
	data           []byte
	swallow        func() // from now on the client hears nothing on this connection
}

func newProxy(t *testing.T, endpoint string) *proxy {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, listener: l, to: u.Host, conns: map[net.Conn]bool{}}
	t.Cleanup(func() { l.Close(); p.unblock(); p.cut() })
	go p.accept()
	return p
}

func (p *proxy) endpoint() string { return "http://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuse := p.refuse
		p.mu.Unlock()
		server, err := net.Dial("tcp", p.to)
		if err != nil || refuse {
			client.Close()
			if err == nil {
				server.Close()
			}
			continue
		}
		p.mu.Lock()
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		silent := make(chan struct{})
		var once sync.Once
		go p.up(client, server, func() { once.Do(func() { close(silent) }) })
		go p.down(client, server, silent)
	}
}

func (p *proxy) wait() {
	p.mu.Lock()
	blocked := p.blocked
	p.mu.Unlock()
	if blocked != nil {
		<-blocked
	}
}

// up carries what the client sends.
func (p *proxy) up(client, server net.Conn, swallow func()) {
	defer server.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		p.wait()
		p.mu.Lock()
		f := p.onWrite
		if isWrite := bytes.Contains(buffer[:n], []byte("/changes/0")); f != nil && isWrite {
			p.onWrite = nil
		} else {
			f = nil
		}
		p.mu.Unlock()
		if f != nil {
			f(&transfer{client, server, bytes.Clone(buffer[:n]), swallow})
		} else if n > 0 {
			if _, err := server.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// down carries what etcd answers.
func (p *proxy) down(client, server net.Conn, silent chan struct{}) {
	defer client.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		p.wait()
		select {
		case <-silent:
			io.Copy(io.Discard, server)
			return
		default:
		}
		p.mu.Lock()
		held := p.held
		p.mu.Unlock()
		if held != nil {
			<-held
		}
		if n > 0 {
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
	p.conns = map[net.Conn]bool{}
}

// close cuts, and refuses until open.
func (p *proxy) close() {
	p.mu.Lock()
	p.refuse = true
	p.mu.Unlock()
	p.cut()
}

func (p *proxy) open() {
	p.mu.Lock()
	p.refuse = false
	p.mu.Unlock()
}

// block lets nothing through; connections stay open.
func (p *proxy) block() {
	p.mu.Lock()
	p.blocked = make(chan struct{})
	p.mu.Unlock()
}

func (p *proxy) unblock() {
	p.mu.Lock()
	if p.blocked != nil {
		close(p.blocked)
		p.blocked = nil
	}
	p.mu.Unlock()
}

// hold lets requests through and no answers, until release is called.
func (p *proxy) hold() (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := make(chan struct{})
	p.held = held
	return sync.OnceFunc(func() {
		p.mu.Lock()
		p.held = nil
		p.mu.Unlock()
		close(held)
	})
}

// next sets what becomes of the next transaction.
func (p *proxy) next(f func(*transfer)) {
	p.mu.Lock()
	p.onWrite = f
	p.mu.Unlock()
}
