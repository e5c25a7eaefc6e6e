package etcdstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/tlsbundle"
)

// maxPEM bounds a certificate file, in bytes.
const maxPEM = 1 << 20

// reloadedTLS are gRPC's credentials of files that are read for each handshake,
// so that renewed certificates and authorities serve without a restart.
type reloadedTLS struct {
	credentials.TransportCredentials // for all but the handshake

	ca, cert, key string
	note          func(error)
	log           *slog.Logger

	mu   sync.Mutex
	last *tls.Config // of the files when they could be used last
}

func newReloadedTLS(o *Options, note func(error)) (*reloadedTLS, error) {
	t := &reloadedTLS{ca: o.CAFile, cert: o.CertFile, key: o.KeyFile, note: note, log: o.Log}
	c, err := t.read()
	if err != nil {
		return nil, fmt.Errorf("reading the certificates for etcd: %w", err)
	}
	t.last, t.TransportCredentials = c, credentials.NewTLS(c)
	return t, nil
}

func (t *reloadedTLS) read() (*tls.Config, error) {
	var o tlsbundle.Options
	for _, f := range []struct {
		path string
		into *string
	}{{t.ca, &o.CAPem}, {t.cert, &o.CertPem}, {t.key, &o.KeyPem}} {
		if f.path == "" {
			continue
		}
		data, _, err := config.ReadFile(f.path, maxPEM)
		if err != nil {
			return nil, err
		}
		*f.into = string(data)
	}
	c, err := tlsbundle.Client(o)
	if err != nil {
		return nil, fmt.Errorf("%s, %s, %s: %w", orNone(t.ca), orNone(t.cert), orNone(t.key), err)
	}
	return c, nil
}

func orNone(path string) string {
	if path == "" {
		return "(none)"
	}
	return path
}

// current reads the files. While they cannot be used, what was read before is.
func (t *reloadedTLS) current() *tls.Config {
	c, err := t.read()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.log.Warn("the certificates for etcd cannot be used; those that were read before are", "error", err)
		return t.last
	}
	t.last = c
	return c
}

// ClientHandshake is that of gRPC's own with the files as they are now.
func (t *reloadedTLS) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	var shown tlsbundle.Shown
	conn, info, err := credentials.NewTLS(tlsbundle.Watch(t.current(), &shown)).ClientHandshake(ctx, authority, raw)
	if err != nil {
		err = tlsbundle.Explain(err, shown)
		t.note(err)
		return nil, nil, err
	}
	return &firstRead{Conn: conn, shown: shown, note: t.note}, info, nil
}

// Clone returns t: it has no state that a connection would change.
func (t *reloadedTLS) Clone() credentials.TransportCredentials { return t }

// firstRead says how the first read of a connection ended: under TLS 1.3 a
// client hears only there that its certificate was refused.
type firstRead struct {
	net.Conn
	shown tlsbundle.Shown
	note  func(error)
	once  sync.Once
}

// Read is the connection's.
func (c *firstRead) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, net.ErrClosed) {
		return n, err // we did it; the other side's reason is found at another try
	}
	c.once.Do(func() {
		if err != nil {
			err = tlsbundle.Explain(err, c.shown)
		}
		c.note(err)
	})
	return n, err
}
