package auth

import (
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Limits of a connection.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second // header and body
	writeTimeout      = 60 * time.Second
	idleTimeout       = time.Minute
	maxHeaderBytes    = 32 << 10 // a token of 16 KiB and what else there is

	maxConns       = 1024 // of all TCP listeners together
	maxConnsByHost = 256  // of one remote address; the Unix sockets are one
)

// ListenOptions say where the admin API is served.
type ListenOptions struct {
	// Address is HOST:PORT for TCP; "" or "off": none.
	Address string
	// SocketPath is the Unix socket; "" or "off": none.
	SocketPath string
	// CertFile and KeyFile (PEM) make the TCP port speak TLS. They are read
	// again when they change.
	CertFile, KeyFile string
	// ClientCAFile holds the authorities (PEM) of the client certificates that are then
	// needed on the TCP port; they give no role. "": none are asked for.
	ClientCAFile string
	// AllowPlaintext lets an address that is not of this machine alone be
	// served without TLS.
	AllowPlaintext bool
	// Inherited are listeners that somebody else has opened (systemd). The
	// same rules hold for them.
	Inherited []net.Listener
	Log       *slog.Logger
}

// ErrPlaintext is that tokens would cross the network in clear.
var ErrPlaintext = errors.New("tokens would cross the network in clear: give --tls-cert and --tls-key, or listen on a loopback address, " +
	"or, if something else protects the network, give --insecure-plaintext")

// Listeners are what the server serves on. The caller must call Close.
type Listeners struct {
	all    []net.Listener
	url    string
	socket string
	certs  *certificates // nil without TLS
}

// Listen opens what o says, all or nothing.
func Listen(o ListenOptions) (*Listeners, error) {
	l := &Listeners{}
	if err := l.open(o); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Listeners) open(o ListenOptions) error {
	if o.CertFile != "" || o.KeyFile != "" || o.ClientCAFile != "" {
		var err error
		if l.certs, err = openCertificates(o.CertFile, o.KeyFile, o.ClientCAFile, o.Log); err != nil {
			return err
		}
	}
	counter := &connCounter{byHost: map[string]int{}}
	for _, ln := range o.Inherited {
		if err := l.add(ln, counter, o.AllowPlaintext); err != nil {
			return err
		}
		if addr, isUnix := ln.Addr().(*net.UnixAddr); isUnix && l.socket == "" {
			l.socket = addr.Name
		}
	}
	if o.Address != "" && o.Address != "off" {
		ln, err := l.listenTCP(o)
		if err != nil {
			return fmt.Errorf("opening the admin port (--listen) %s: %w", o.Address, err)
		}
		if err := l.add(ln, counter, o.AllowPlaintext); err != nil {
			return err
		}
	}
	if o.SocketPath == "" || o.SocketPath == "off" {
		return nil
	}
	ln, err := listenUnix(o.SocketPath)
	if err != nil {
		return fmt.Errorf("opening the admin socket (--admin-socket) %s: %w", o.SocketPath, err)
	}
	l.socket = o.SocketPath
	return l.add(ln, counter, o.AllowPlaintext)
}

// listenTCP opens the very address that it has found to be fit, so that a name
// cannot mean another one a moment later.
func (l *Listeners) listenTCP(o ListenOptions) (net.Listener, error) {
	addr, err := net.ResolveTCPAddr("tcp", o.Address)
	if err != nil {
		return nil, err
	}
	if l.certs == nil && !o.AllowPlaintext && !addr.IP.IsLoopback() {
		return nil, ErrPlaintext
	}
	return net.ListenTCP("tcp", addr)
}

// add takes ln over, also if it is refused.
func (l *Listeners) add(ln net.Listener, counter *connCounter, plaintext bool) error {
	addr, isTCP := ln.Addr().(*net.TCPAddr)
	if isTCP && l.certs == nil && !plaintext && !addr.IP.IsLoopback() {
		ln.Close()
		return fmt.Errorf("opening the admin port on %s: %w", addr, ErrPlaintext)
	}
	ln = &countingListener{Listener: ln, counter: counter}
	if isTCP && l.url == "" {
		l.url = "http://" + addr.String()
	}
	if isTCP && l.certs != nil {
		ln = tls.NewListener(ln, l.certs.config())
		l.url = "https://" + addr.String()
	}
	l.all = append(l.all, ln)
	return nil
}

// All returns the listeners; http.Server.Serve is called for each.
func (l *Listeners) All() []net.Listener { return l.all }

// URL is where the TCP port is, without a path; "" if there is none.
func (l *Listeners) URL() string { return l.url }

// SocketPath is where the Unix socket is; "" if there is none.
func (l *Listeners) SocketPath() string { return l.socket }

// Close closes all listeners and removes the Unix socket. What they accepted stays open.
func (l *Listeners) Close() error {
	var problems []error
	for _, ln := range l.all {
		if err := ln.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			problems = append(problems, err)
		}
	}
	if l.certs != nil {
		l.certs.close()
	}
	return errors.Join(problems...)
}

// NewServer returns a server with the limits of the admin API, HTTP/1.1 only.
// A handler that streams sets its deadlines itself (http.ResponseController).
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{Handler: h, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ConnContext: ConnContext, Protocols: protocols,
		ErrorLog: stdlog.New(&serverLog{log}, "", 0)}
}

// serverLog takes what net/http says: a handler that panics is our fault, all
// else (handshakes that fail, above all) is up to strangers.
type serverLog struct{ log *slog.Logger }

func (l *serverLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if strings.HasPrefix(text, "http: panic") {
		l.log.Error("a handler of the admin port has failed", "error", text)
	} else {
		l.log.Debug("the admin port", "error", text)
	}
	return len(line), nil
}

// connCounter bounds the connections.
type connCounter struct {
	mu     sync.Mutex
	all    int
	byHost map[string]int
}

// count leaves the Unix socket out of all: strangers on the network must not keep root out of it.
func (c *connCounter) count(host string, n int) {
	if host != unixHost {
		c.all += n
	}
}

func (c *connCounter) enter(host string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if host != unixHost && c.all >= maxConns || c.byHost[host] >= maxConnsByHost {
		return false
	}
	c.count(host, 1)
	c.byHost[host]++
	return true
}

func (c *connCounter) leave(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count(host, -1)
	if c.byHost[host]--; c.byHost[host] == 0 {
		delete(c.byHost, host)
	}
}

// countingListener closes at once what is beyond the bounds: to let it wait
// would make it wait behind whoever holds the others.
type countingListener struct {
	net.Listener
	counter *connCounter
}

func (l *countingListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host := remoteKey(c.RemoteAddr().String())
		if l.counter.enter(host) {
			return &countedConn{Conn: c, leave: sync.OnceFunc(func() { l.counter.leave(host) })}, nil
		}
		c.Close()
	}
}

type countedConn struct {
	net.Conn
	leave func()
}

func (c *countedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
