package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/lbshipd/lbshipd/admin"
	"github.com/lbshipd/lbshipd/admin/auth"
)

// adminStop is how long requests may go on once the daemon has stopped.
const adminStop = time.Second

// adminPort is the admin port at work: TCP, Unix socket, or both.
type adminPort struct {
	listeners *auth.Listeners
	server    *http.Server
	serving   sync.WaitGroup // the loops that take connections
	open      sync.WaitGroup // the connections
	closeKeys func()
}

// openAdmin opens the admin port; nothing is served yet.
func openAdmin(o *runOptions, log *slog.Logger) (*adminPort, *auth.Verifier, error) {
	if err := o.auth.Check(); err != nil {
		return nil, nil, usageError{err}
	}
	verifier, closeKeys, err := o.auth.Open(log)
	if err != nil {
		return nil, nil, err
	}
	address, err := inherit(o, log)
	if err != nil {
		closeKeys()
		return nil, nil, err
	}
	listeners, err := o.auth.Listen(address, filepath.Join(o.dataDir, "admin.sock"), log)
	if err != nil && o.auth.Socket == "" && len(o.auth.Inherited) == 0 {
		// Nobody has asked for the socket: a data directory that cannot hold one is no reason not to ship.
		if without, again := o.auth.Listen(address, "off", log); again == nil {
			log.Warn("there is no admin socket; choose its place with --admin-socket", "error", err)
			listeners, err = without, nil
		}
	}
	if err != nil {
		closeKeys()
		return nil, nil, listenHint(err)
	}
	return &adminPort{listeners: listeners, closeKeys: closeKeys}, verifier, nil
}

// inherit takes over what systemd has opened for us (sd_listen_fds(3)), and returns what
// is left to be opened for --listen: nothing if systemd holds a TCP port. A Unix socket of systemd's
// is served beside our own.
func inherit(o *runOptions, log *slog.Logger) (address string, err error) {
	listeners, err := activation.Listeners()
	if err != nil {
		return "", fmt.Errorf("taking over the sockets of the service manager: %w", err)
	}
	address = o.listen
	for _, ln := range listeners {
		if ln == nil {
			log.Warn("the service manager has handed over a descriptor that is not a listening socket: it is not used")
			continue
		}
		o.auth.Inherited = append(o.auth.Inherited, ln)
		if _, isTCP := ln.Addr().(*net.TCPAddr); isTCP && address != "off" {
			log.Info("systemd holds the admin port: --listen is not used", "address", ln.Addr().String())
			address = "off"
		}
	}
	return address, nil
}

// serve answers until close.
func (a *adminPort) serve(h http.Handler, log *slog.Logger) {
	a.server = auth.NewServer(h, log)
	a.server.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew: // said before Serve can return
			a.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			a.open.Done()
		}
	}
	for _, l := range a.listeners.All() {
		a.serving.Go(func() {
			if err := a.server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				log.Error("the admin port has failed", "address", l.Addr().String(), "error", err)
			}
		})
	}
}

// close ends it: what is asked for gets a moment for its answer. That is not
// left to http.Server.Shutdown, which hangs up on requests that are just coming in.
// What nobody has taken yet waits for the next daemon, if systemd holds the port.
func (a *adminPort) close() {
	defer a.closeKeys()
	a.listeners.Close()
	if a.server == nil {
		return
	}
	a.serving.Wait()
	a.server.SetKeepAlivesEnabled(false) // idle connections end now, the others with their answer
	answered := make(chan struct{})
	go func() { a.open.Wait(); close(answered) }()
	select {
	case <-answered:
	case <-time.After(adminStop):
	}
	a.server.Close()
}

// describe says where it is, for the first screen.
func (a *adminPort) describe() string {
	url, socket := a.listeners.URL(), a.listeners.SocketPath()
	switch {
	case url == "" && socket == "":
		return "off"
	case url == "":
		return "unix:" + socket
	case socket == "":
		return url + "/metrics, /-/ready, /-/healthy, /status, /version"
	}
	return url + "/metrics, /-/ready, /-/healthy, /status, /version; " + "unix:" + socket
}

// handler is what the admin port serves.
func (d *running) handler(registry prometheus.Gatherer, verifier *auth.Verifier) http.Handler {
	guard := auth.NewGuard(auth.GuardOptions{Verifier: verifier, Open: admin.Open(), Log: d.log})
	return guard.Wrap(admin.NewHandler(admin.Options{Supervisor: d.sup, Metrics: registry, Version: ownVersion(), Report: d.reporter.Current, API: d.api()}))
}
