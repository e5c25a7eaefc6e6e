package ctl

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/admin/client"
)

// Environment variables that stand for flags.
const (
	envEndpoint = "LBSHIPD_ENDPOINT"
	envJWT      = "LBSHIPD_JWT"
)

// usualPort is the admin port of a daemon without --listen.
const usualPort = "http://127.0.0.1:9600"

// maxTokenFile bounds what is read as a token, in bytes.
const maxTokenFile = 64 << 10

// Connection is which daemon is asked, and as whom.
type Connection struct {
	o                         Options
	endpoint, jwt             string
	caFile, certFile, keyFile string
	timeout                   time.Duration
}

// annotation marks the flags of a connection.
const annotation = "connection"

// NewConnection adds the flags of a connection to a command.
func NewConnection(c *cobra.Command, o Options) *Connection {
	n := &Connection{o: o}
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.StringVar(&n.endpoint, "endpoint", "", "unix:/PATH of the daemon's socket, or http(s)://HOST:PORT of its admin port ($"+envEndpoint+")")
	f.StringVarP(&n.jwt, "jwt", "J", "", "token, or @FILE that holds it ($"+envJWT+"); root needs none on the socket")
	f.StringVar(&n.caFile, "ca-file", "", "PEM file with the CA that signs the daemon's certificate")
	f.StringVar(&n.certFile, "cert-file", "", "PEM file with the certificate that is shown to the daemon")
	f.StringVar(&n.keyFile, "key-file", "", "PEM file with the key of that certificate")
	f.DurationVar(&n.timeout, "timeout", client.DefaultTimeout, "how long one answer of the daemon may take")
	f.VisitAll(func(x *pflag.Flag) { annotate(x, annotation, "") })
	annotate(f.Lookup("endpoint"), "default", "the socket of this node's daemon: unix:/run/lbshipd/admin.sock, in its data directory, or ./data/admin.sock")
	c.Flags().AddFlagSet(f)
	fileFlags(c, "ca-file", "cert-file", "key-file")
	return n
}

func annotate(f *pflag.Flag, key, value string) {
	if f.Annotations == nil {
		f.Annotations = map[string][]string{}
	}
	f.Annotations[key] = []string{value}
}

// SplitFlags takes the flags of a connection apart from a command's own.
func SplitFlags(all *pflag.FlagSet) (own, connection *pflag.FlagSet) {
	own, connection = pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	all.VisitAll(func(f *pflag.Flag) {
		if f.Annotations[annotation] != nil {
			connection.AddFlag(f)
		} else {
			own.AddFlag(f)
		}
	})
	return own, connection
}

// Changed returns the first flag of the connection that was given, "" if none was.
func (n *Connection) Changed(c *cobra.Command) (name string) {
	_, connection := SplitFlags(c.Flags())
	connection.VisitAll(func(f *pflag.Flag) {
		if f.Changed && name == "" {
			name = f.Name
		}
	})
	return name
}

// Endpoint returns the endpoint that was given, by flag or variable; empty if none was.
func (n *Connection) Endpoint() string { return cmp.Or(n.endpoint, os.Getenv(envEndpoint)) }

// Client returns what asks the daemon. Warnings go to stderr.
func (n *Connection) Client(stderr io.Writer) (*client.Client, error) {
	endpoint, missing := n.where()
	return n.client(stderr, endpoint, missing)
}

// StatusClient is Client for what needs no token: it asks the admin port at its
// usual place if no endpoint is given and there is no socket that we may use.
func (n *Connection) StatusClient(stderr io.Writer) (*client.Client, error) {
	endpoint, missing := n.where()
	path, isSocket := strings.CutPrefix(endpoint, "unix:")
	given := n.endpoint != "" || os.Getenv(envEndpoint) != ""
	if !given && (missing != nil || isSocket && errors.Is(unix.Access(path, unix.W_OK), fs.ErrPermission)) {
		endpoint, missing = usualPort, nil
	}
	return n.client(stderr, endpoint, missing)
}

// At returns what asks the admin port at address, whatever else is given.
func (n *Connection) At(stderr io.Writer, address string) (*client.Client, error) {
	return n.client(stderr, address, nil)
}

func (n *Connection) client(stderr io.Writer, endpoint string, missing error) (*client.Client, error) {
	token, err := n.token()
	if err != nil {
		return nil, err
	}
	if n.timeout <= 0 {
		return nil, usage("--timeout must be above 0")
	}
	if token != "" && inClear(endpoint) {
		fmt.Fprintf(stderr, "warning: the token is sent in the clear: ask %s by https:// instead\n", endpoint)
	}
	c, err := client.New(client.Options{Endpoint: endpoint, Token: token, CAFile: n.caFile, CertFile: n.certFile, KeyFile: n.keyFile,
		Timeout: n.timeout, Agent: "lbshipd/" + n.o.Version})
	if err != nil {
		return nil, UsageError{err}
	}
	if missing != nil {
		return nil, hinted{missing,
			"Is lbshipd running here (systemctl status lbshipd)? Name its socket or its admin port with --endpoint or " + envEndpoint + "."}
	}
	return c, nil
}

// where returns the endpoint; if none is given and no daemon's socket is there, why not. A
// socket that was left over by a daemon that was killed is passed over.
func (n *Connection) where() (endpoint string, missing error) {
	if n.endpoint != "" {
		return n.endpoint, nil
	}
	if endpoint := os.Getenv(envEndpoint); endpoint != "" {
		return endpoint, nil
	}
	var dead []string
	for _, path := range n.o.Sockets {
		if abs, err := filepath.Abs(path); err == nil {
			path = abs
		}
		switch err := knock(path); {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, unix.ECONNREFUSED):
			dead = append(dead, path)
		default: // one that may not be asked, or is too busy to answer, is one that is there
			return "unix:" + path, nil
		}
	}
	if len(dead) > 0 {
		return "unix:" + dead[0], fmt.Errorf("no daemon runs: nothing listens on %s, left over from one that was killed", strings.Join(dead, ", "))
	}
	return "unix:/run/lbshipd/admin.sock", fmt.Errorf("no daemon's socket is found: there is none of %s", strings.Join(n.o.Sockets, ", "))
}

// knock connects to a socket and hangs up.
func knock(path string) error {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}

// token returns the token that was given, which no error quotes.
func (n *Connection) token() (string, error) {
	text, from := n.jwt, "--jwt"
	if text == "" {
		text, from = os.Getenv(envJWT), envJWT
	}
	if path, ok := strings.CutPrefix(text, "@"); ok {
		b, err := readFile(path, maxTokenFile)
		if err != nil {
			return "", fmt.Errorf("%s: reading the token: %w", from, err)
		}
		text, from = string(b), path
	}
	text = strings.TrimSpace(text)
	if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", usage("%s: that is no token (one word; @FILE for a file)", from)
	}
	return text, nil
}

// inClear reports whether others can read what is sent there.
func inClear(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}

// readFile reads a file that is not longer than most bytes.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, path, most)
}

func readAll(r io.Reader, name string, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, most)
	}
	return b, nil
}
