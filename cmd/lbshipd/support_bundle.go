//go:build !appliance

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/ctl"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/support"
	"github.com/lbshipd/lbshipd/config/etcdstore"
)

func newSupportBundle() *cobra.Command {
	var o support.Options
	var output string
	var since time.Duration
	var connection *ctl.Connection
	c := &cobra.Command{
		Use:   "support-bundle",
		Short: "Gather what somebody else needs to see what is wrong, without secrets",
		Long: `Write one archive (tar.gz, mode 0600) with what somebody else needs to see what is
wrong with this node's daemon: versions, the configuration, status, metrics, ledger,
positions, history, the daemon's own messages, where its goroutines are, limits,
units, modes of the files that it is to read, kernel and disks. manifest.json in
it says what could not be gathered, and why.

The daemon may be running, hanging or stopped. Run it as root, or as the daemon's
user; anybody else gets less. It takes a minute at most, holds 24 MiB at most before
it is compressed, and changes nothing.

No private key, password or token is in it, nor anything that was logged, but
lbshipd's own messages, which may quote what a target has answered. Every secret
that the configuration, the files that it names and the daemon's environment hold
is searched for in all of it. Look through it before you give it away.`,
		Example: `  lbshipd support-bundle
  lbshipd support-bundle -o /tmp/node-7.tar.gz --since 2h`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if since <= 0 {
				return usageError{fmt.Errorf("--since must be above 0")}
			}
			o.Since, o.Version = time.Now().Add(-since), ownBuild()
			o.CommandLine, o.EtcdCopy, o.Doctor = startedAs, etcdCopy, doctorReport
			endpoint := connection.Endpoint()
			o.Sockets = ctlOptions().Sockets
			if socket, ok := strings.CutPrefix(endpoint, "unix:"); ok {
				o.Sockets = []string{socket}
			} else if endpoint != "" || o.Config != "" || o.DataDir != "" {
				o.Sockets = nil // the one of the endpoint or of that directory is meant, whichever it is
			}
			o.Connect = func(socket string) (*client.Client, error) {
				if _, err := os.Stat(socket); endpoint == "" && socket != "" && err == nil {
					return connection.At(c.ErrOrStderr(), "unix:"+socket)
				}
				return connection.StatusClient(c.ErrOrStderr())
			}
			b := support.Gather(c.Context(), o)
			if output == "" {
				output = b.Name() + ".tar.gz"
			}
			if err := saveBundle(c.OutOrStdout(), b, output); err != nil {
				return hintedError{err, "Name a file in a folder that you may write with -o, or - for standard output."}
			}
			if output != "-" {
				describeBundle(c.OutOrStdout(), b, output)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&output, "output", "o", "", "file to write, - for standard output")
	documentDefault(c, "output", "lbshipd-support-HOST-TIME.tar.gz here")
	f.IntVar(&o.PID, "pid", 0, "process of the daemon, if several run")
	f.StringVar(&o.Config, "config", "", "configuration file, if not the one that the daemon was started with")
	f.StringVar(&o.DataDir, "data-dir", "", "directory of the daemon's state, if not the one that it was started with")
	f.StringVar(&o.Unit, "unit", "lbshipd.service", "unit of the daemon")
	f.DurationVar(&since, "since", 24*time.Hour, "how far back the daemon's own messages go")
	f.StringArrayVar(&o.JournalDirs, "journal-directory", nil, "directory of journal files in which they are, if not this machine's; may be given several times")
	connection = ctl.NewConnection(c, ctlOptions())
	return c
}

func saveBundle(stdout io.Writer, b *support.Bundle, output string) error {
	if output != "-" {
		return b.Save(output)
	}
	data, err := b.Archive(b.Name())
	if err != nil {
		return err
	}
	_, err = stdout.Write(data)
	return err
}

// describeBundle says what is in it and what is not.
func describeBundle(w io.Writer, b *support.Bundle, output string) {
	fmt.Fprintf(w, "%s: %s of %s\n", output, screen.Count(len(b.Manifest.Parts), "part"), screen.OneLine(b.Manifest.Daemon))
	for _, m := range b.Manifest.Missing {
		fmt.Fprintf(w, "  without %s: %s\n", screen.OneLine(m.What), screen.OneLine(m.Why))
	}
	fmt.Fprintln(w, "Secrets are left out as far as they are known. Look through it before you give it away.")
}

// startedAs reads what a daemon was started with.
func startedAs(args []string, getenv func(string) string, root bool) (support.Settings, error) {
	run := newRun()
	f := run.Flags()
	f.ParseErrorsAllowlist.UnknownFlags = true // of another version
	err := f.Parse(args)
	text := func(name string) string { return f.Lookup(name).Value.String() }
	s := support.Settings{Config: text("config"), DataDir: text("data-dir")}
	if !f.Changed("data-dir") {
		s.DataDir = dataDirOf(getenv, root)
	}
	s.Etcd = f.Changed("etcd-endpoints")
	switch s.Socket = text("admin-socket"); s.Socket {
	case "":
		s.Socket = filepath.Join(s.DataDir, "admin.sock")
	case "off":
		s.Socket = ""
	}
	for _, name := range []string{"etcd-key", "etcd-password-file", "cluster-key-file", "tls-key"} {
		s.Secrets = append(s.Secrets, given(text(name))...)
	}
	for _, name := range []string{"etcd-ca", "etcd-cert", "tls-cert", "tls-client-ca", "jwt-keys-ca"} {
		s.Files = append(s.Files, given(text(name))...)
	}
	if keys, ok := f.Lookup("jwt-keys").Value.(pflag.SliceValue); ok {
		for _, key := range keys.GetSlice() {
			if !strings.Contains(key, "://") {
				s.Secrets = append(s.Secrets, key) // a folder may hold the private half too
			}
		}
	}
	return s, err
}

// doctorTime is how long the doctor may take for a bundle.
const doctorTime = 12 * time.Second

// doctorReport is what lbshipd doctor prints of a daemon that was started with s.
func doctorReport(ctx context.Context, s support.Settings) ([]byte, error) {
	args := []string{"--timeout", doctorTime.String()}
	if s.Config != "" {
		args = append(args, "--config", s.Config)
	}
	if s.DataDir != "" {
		args = append(args, "--data-dir", s.DataDir)
	}
	if s.Socket != "" {
		args = append(args, "--admin-socket", s.Socket)
	}
	var out bytes.Buffer
	doctor := newDoctor()
	doctor.SilenceErrors, doctor.SilenceUsage = true, true
	doctor.SetArgs(args)
	doctor.SetOut(&out)
	doctor.SetErr(&out)
	err := doctor.ExecuteContext(ctx)
	if errors.As(err, new(exitError)) {
		err = nil // it has found something, or says why it could not look
	}
	return out.Bytes(), err
}

// etcdCopy reads a daemon's copy of what etcd held.
var etcdCopy = etcdstore.ReadCache

// given is a list of the text, or of nothing.
func given(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}
