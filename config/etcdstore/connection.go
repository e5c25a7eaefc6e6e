package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/filetext"
)

// How a connection that is lost is noticed and made again.
const (
	// gRPC pings a silent connection after pingAfter (10s is its minimum) and gives it up
	// pingTimeout later: a member that hangs, or a network that swallows.
	pingAfter, pingTimeout = 10 * time.Second, 3 * time.Second
	// A member that was away is tried at least so often. gRPC's default is two minutes.
	redialAtMost = 3 * time.Second
	// tokenTimeout bounds logging in.
	tokenTimeout = 5 * time.Second
	// closeAfter is how long a client that was replaced may end its calls.
	closeAfter = 5 * time.Second
)

// connection makes the client, once it can be made, and anew when the password changes.
type connection struct {
	o        *Options
	ctx      context.Context // ends with the Store
	tls      *reloadedTLS    // nil: without
	password *filetext.File  // nil: it does not come from a file
	dialed   chan struct{}   // holds a token once a member was connected to

	mu      sync.Mutex // guards what follows
	client  *clientv3.Client
	used    string        // password of client
	making  chan struct{} // closed when the attempt under way has ended; nil: none is
	makeErr error         // of the last attempt
	dialErr error         // of the last attempt to connect; nil once one was good
}

func newConnection(ctx context.Context, o *Options) (*connection, error) {
	c := &connection{o: o, ctx: ctx, dialed: make(chan struct{}, 1)}
	secure, err := checkEndpoints(o)
	if err != nil {
		return nil, err
	}
	if secure {
		if c.tls, err = newReloadedTLS(o, c.note); err != nil {
			return nil, err
		}
	}
	if o.PasswordFile != "" {
		c.password = filetext.New(o.PasswordFile)
		if _, err := c.password.Text(); err != nil {
			return nil, err
		}
	}
	if (o.User != "") != (o.Password != "" || o.PasswordFile != "") {
		return nil, errors.New("etcd's user and password belong together: only one of them is given")
	}
	return c, nil
}

// checkEndpoints reports whether it is to be TLS.
func checkEndpoints(o *Options) (secure bool, err error) {
	if len(o.Endpoints) == 0 {
		return false, errors.New("no endpoint of etcd is given")
	}
	files := o.CAFile != "" || o.CertFile != "" || o.KeyFile != ""
	for i, e := range o.Endpoints {
		scheme, rest, ok := strings.Cut(e, "://")
		if !ok {
			scheme, rest = "", e
		}
		known := scheme == "" || scheme == "http" || scheme == "https" || scheme == "unix" || scheme == "unixs"
		if !known || rest == "" || strings.ContainsAny(rest, " ,") || strings.HasPrefix(scheme, "http") && strings.Contains(rest, "/") {
			return false, fmt.Errorf("etcd's endpoint %q: want http://HOST:PORT, https://HOST:PORT or unix:///PATH", e)
		}
		tls := scheme == "https" || scheme == "unixs" || scheme == "" && files
		if files && !tls {
			return false, fmt.Errorf("etcd's endpoint %q is without TLS, but certificate files are given: write https://", e)
		}
		if i > 0 && tls != secure {
			return false, errors.New("etcd's endpoints must be all with or all without TLS")
		}
		secure = tls
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return false, errors.New("etcd's certificate and key files belong together: only one of them is given")
	}
	return secure, nil
}

// local reports whether etcd is on this machine.
func (c *connection) local() bool {
	for _, e := range c.o.Endpoints {
		_, rest, ok := strings.Cut(e, "://")
		if !ok {
			rest = e
		}
		host, _, err := net.SplitHostPort(rest)
		if strings.HasPrefix(e, "unix") || err == nil && host == "localhost" {
			continue
		}
		if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
			return false
		}
	}
	return true
}

// note remembers why connecting failed: gRPC only says that it took too long.
func (c *connection) note(err error) {
	c.mu.Lock()
	c.dialErr = err
	c.mu.Unlock()
}

// last returns why there is no connection, as far as it is known.
func (c *connection) last() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dialErr != nil {
		return c.dialErr
	}
	return c.makeErr
}

// ready reports whether there is a connection to any member.
func (c *connection) ready() bool {
	c.mu.Lock()
	client := c.client
	c.mu.Unlock()
	return client != nil && client.ActiveConnection().GetState() == connectivity.Ready
}

// get returns the client. It waits for it, because logging in needs etcd.
func (c *connection) get(ctx context.Context) (*clientv3.Client, error) {
	password, err := c.o.Password, error(nil)
	if c.password != nil {
		if password, err = c.password.Text(); err != nil {
			c.o.Log.Warn("the password for etcd cannot be read; the one that was read before is used", "error", err)
		}
	}
	c.mu.Lock()
	if c.client != nil && (err != nil || password == c.used) {
		defer c.mu.Unlock()
		return c.client, nil
	}
	if err != nil {
		c.mu.Unlock()
		return nil, err
	}
	making := c.making
	if making == nil {
		making = make(chan struct{})
		c.making = making
		go c.make(password, making)
	}
	c.mu.Unlock()
	select {
	case <-making:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.makeErr != nil {
		return nil, c.makeErr
	}
	return c.client, nil
}

// make makes a client in place of the one that there is.
func (c *connection) make(password string, done chan struct{}) {
	client, err := clientv3.New(c.config(password))
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(done)
	c.making, c.makeErr = nil, err
	if err != nil {
		if errors.Is(err, rpctypes.ErrAuthFailed) && c.password != nil {
			c.password.Forget()
		}
		return
	}
	if c.ctx.Err() != nil {
		client.Close()
		c.makeErr = c.ctx.Err()
		return
	}
	if old := c.client; old != nil {
		time.AfterFunc(closeAfter, func() { old.Close() })
	}
	c.client, c.used = client, password
}

func (c *connection) config(password string) clientv3.Config {
	options := []grpc.DialOption{
		grpc.WithContextDialer(c.dial),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 5 * time.Second,
			Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: redialAtMost}}),
	}
	if c.tls != nil {
		options = append(options, grpc.WithTransportCredentials(c.tls)) // the last one given counts
	}
	return clientv3.Config{Endpoints: c.o.Endpoints, Username: c.o.User, Password: password, Context: c.ctx, Logger: zap.NewNop(),
		DialTimeout: tokenTimeout, DialKeepAliveTime: pingAfter, DialKeepAliveTimeout: pingTimeout, DialOptions: options}
}

// dial connects to an address as gRPC writes it: HOST:PORT or unix:PATH.
func (c *connection) dial(ctx context.Context, address string) (net.Conn, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", strings.TrimPrefix(path, "//")
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil || c.tls == nil {
		c.note(err)
	}
	if err == nil {
		select {
		case c.dialed <- struct{}{}:
		default:
		}
	}
	return conn, err
}

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		c.client.Close() // an error says that it was closed
		c.client = nil
	}
}

// unavailable says that etcd did not do what was asked of it, and why as far as it is known.
func (s *Store) unavailable(err error) error {
	if (err == nil || errors.Is(err, context.DeadlineExceeded)) && !s.conn.ready() {
		if last := s.conn.last(); last != nil {
			err = last
		}
	}
	where := "etcd at " + strings.Join(s.o.Endpoints, ", ")
	if err == nil {
		return fmt.Errorf("%w: %s is not connected", config.ErrUnavailable, where)
	}
	if errors.Is(err, config.ErrUnavailable) {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %s did not answer in time: %w", config.ErrUnavailable, where, err)
	}
	return fmt.Errorf("%w: %s: %w", config.ErrUnavailable, where, err)
}
