package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/admin/auth"
	"github.com/lbshipd/lbshipd/positions"
)

// hintedError is an error of which it is known what to do about it.
type hintedError struct {
	error
	hint string
}

func (e hintedError) Unwrap() error { return e.error }

// Hint says what to do about it.
func (e hintedError) Hint() string { return e.hint }

// hint returns what to do about err, on a line of its own, or "".
func hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		return "\n  " + h.Hint()
	}
	return ""
}

// configFileHint says what to do about a configuration file that cannot be read.
func configFileHint(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return hintedError{err, "Give the path of a file that exists. docs/examples has some to begin with; without --config, lbshipd run prints this machine's logs."}
	case errors.Is(err, fs.ErrPermission):
		return hintedError{err, permissionHint("the file and its folders")}
	}
	return err
}

// dataDirHint says what to do about a data directory that cannot be used.
func dataDirHint(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, positions.ErrLocked):
		return hintedError{err, "Stop the other one, or give this one a directory of its own with --data-dir."}
	case errors.Is(err, unix.EROFS):
		return hintedError{err, "The positions must be kept somewhere: on a data partition, or in memory (--data-dir /run/lbshipd), which forgets them when the machine is started anew."}
	case errors.Is(err, fs.ErrPermission):
		return hintedError{err, permissionHint("the data directory") + " Or choose another one with --data-dir."}
	}
	return hintedError{err, "Choose a directory that can be written with --data-dir."}
}

// listenHint says what to do about an admin port that cannot be opened.
func listenHint(err error) error {
	var op *net.OpError
	var addr *net.AddrError
	switch {
	// Certificates, the socket's file, an address that needs TLS: these say it themselves.
	case errors.Is(err, auth.ErrPlaintext), !errors.As(err, &op) && !errors.As(err, &addr):
		return err
	case errors.Is(err, unix.EADDRINUSE):
		return hintedError{err, "Another program (another lbshipd?) has it. Choose another with --listen 127.0.0.1:9601, or have none with --listen off."}
	case errors.Is(err, fs.ErrPermission):
		return hintedError{err, "Ports below 1024 are for root: choose another with --listen."}
	}
	return hintedError{err, "Give it as HOST:PORT, such as --listen 127.0.0.1:9600, or have none with --listen off."}
}

func permissionHint(what string) string {
	return fmt.Sprintf("Run as root, or give the user %d access to %s.", unix.Geteuid(), what)
}

// unknownFlag names the flag that was likely meant.
func unknownFlag(c *cobra.Command, err error) error {
	name, ok := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !ok {
		return usageError{err}
	}
	if why := leftOut(name); why != "" {
		return usageError{fmt.Errorf("--%s: %s", name, why)}
	}
	like := ""
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if like == "" && near(name, f.Name) {
			like = f.Name
		}
	})
	if like == "" {
		return usageError{err}
	}
	return usageError{fmt.Errorf("%w; did you mean --%s?", err, like)}
}

// near reports whether a becomes b by one letter less, more or other, or by
// swapping two neighbours, or is its beginning.
func near(a, b string) bool {
	if len(a) > 2 && strings.HasPrefix(b, a) {
		return true
	}
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	a, b = a[i:], b[i:]
	for len(a) > 0 && len(b) > 0 && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return len(a) <= 1 && len(b) <= 1 || len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
}
