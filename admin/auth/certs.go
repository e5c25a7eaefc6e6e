package auth

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// pollCertificates is how often the files are looked at.
const pollCertificates = 2 * time.Second

// certificates are the server's certificate and the authorities of its
// clients, read again when their files change. What cannot be used changes
// nothing and is said.
type certificates struct {
	cert, key, clientCA string
	log                 *slog.Logger
	now                 atomic.Pointer[tls.Config]
	stop                context.CancelFunc
	done                sync.WaitGroup

	// The goroutine's own.
	read    [3][]byte // what the files held when they were last good
	problem string
}

func openCertificates(cert, key, clientCA string, log *slog.Logger) (*certificates, error) {
	if cert == "" || key == "" {
		return nil, errors.New("TLS on the admin port needs both --tls-cert and --tls-key")
	}
	c := &certificates{cert: cert, key: key, clientCA: clientCA, log: log}
	if err := c.load(); err != nil {
		return nil, err
	}
	var ctx context.Context
	ctx, c.stop = context.WithCancel(context.Background())
	c.done.Go(func() { c.run(ctx) })
	return c, nil
}

func (c *certificates) close() {
	c.stop()
	c.done.Wait()
}

// config makes each handshake use what is current. Session tickets of before a
// change are not taken: each configuration has keys of its own.
func (c *certificates) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.now.Load(), nil }}
}

func (c *certificates) run(ctx context.Context) {
	tick := time.NewTicker(pollCertificates)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.reload()
		}
	}
}

func (c *certificates) reload() {
	problem := ""
	if err := c.load(); err != nil {
		problem = err.Error()
	}
	switch {
	case problem != "" && problem != c.problem:
		c.log.Error("the admin port's certificate cannot be read again, the one before goes on", "reason", problem)
	case problem == "" && c.problem != "":
		c.log.Info("the admin port's certificate can be read again")
	}
	c.problem = problem
}

// load reads the files and uses them, if they are not what is used already.
func (c *certificates) load() error {
	var read [3][]byte
	for i, path := range []string{c.cert, c.key, c.clientCA} {
		if path == "" {
			continue
		}
		text, err := readBounded(path)
		if err != nil {
			return fmt.Errorf("reading %s (%s): %w", path, tlsFlags[i], err)
		}
		read[i] = text
	}
	if slices.EqualFunc(read[:], c.read[:], bytes.Equal) && c.now.Load() != nil {
		return nil
	}
	config, leaf, err := c.parse(read)
	if err != nil {
		return err
	}
	c.read = read
	c.now.Store(config)
	c.log.Info("the admin port's certificate was read", "subject", leaf.Subject.String(), "not_after", leaf.NotAfter.UTC().Format(time.RFC3339))
	if now := time.Now(); now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		c.log.Warn("the admin port's certificate is not valid now: clients will refuse it", "path", c.cert)
	}
	return nil
}

var tlsFlags = [3]string{"--tls-cert", "--tls-key", "--tls-client-ca"}

func (c *certificates) parse(read [3][]byte) (*tls.Config, *x509.Certificate, error) {
	pair, err := tls.X509KeyPair(read[0], read[1])
	if err != nil {
		return nil, nil, fmt.Errorf("the certificate %s (--tls-cert) with the key %s (--tls-key): %w", c.cert, c.key, err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, nil, fmt.Errorf("the certificate %s (--tls-cert): %w", c.cert, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{pair}}
	if c.clientCA != "" {
		config.ClientCAs = x509.NewCertPool()
		config.ClientAuth = tls.RequireAndVerifyClientCert
		if !config.ClientCAs.AppendCertsFromPEM(read[2]) {
			return nil, nil, fmt.Errorf("the authorities %s (--tls-client-ca) hold no certificate (-----BEGIN CERTIFICATE-----)", c.clientCA)
		}
	}
	return config, leaf, nil
}
