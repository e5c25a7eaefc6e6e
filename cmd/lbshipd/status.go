package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/admin"
	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/ctl"
	"github.com/lbshipd/lbshipd/positions"
)

type statusOptions struct {
	address string
	output  string
	dataDir string
	all     bool
}

func newStatus() *cobra.Command {
	var o statusOptions
	var connection *ctl.Connection
	outputs := []string{"text", "json"}
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what runs, and what became of every record",
		Long: `Show what the daemon runs, how its targets do, and the ledger: what became of
every record, by source and target. For each row
  read = delivered + filtered + refused + lost + in flight
holds at all times. AT RISK is what the target has not taken and the source will
drop some day, and in how long it is likely to begin with that.

With --all it shows all nodes: what each reports of itself and of its targets, and
what is to be looked at; the rates are those of the time of its report, which is
not older than a minute. Any node's daemon can be asked for that.

RATE is records a second, read or taken, over the last ten seconds. Without
--endpoint this node's daemon is asked: by its socket, or if there is none that
you may use, at http://127.0.0.1:9600. One node's status needs no token.

With --data-dir no daemon is asked: the ledger that is stored there is shown,
which is without what is in flight.

The exit code is 0 if all is well, 1 if something is not as it should be (a
target that takes no records, a configuration that was refused, positions that
cannot be saved, a ledger that does not add up, a source that will soon drop what
was not taken) or if the daemon does not answer, and 2 on wrong usage.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !slices.Contains(outputs, o.output) {
				return usageError{fmt.Errorf("-o %q: want one of %v", o.output, outputs)}
			}
			offline, asks := c.Flags().Changed("data-dir"), connection.Changed(c)
			if asks == "" && c.Flags().Changed("address") {
				asks = "address"
			}
			switch {
			case o.all && (offline || c.Flags().Changed("address")):
				return usageError{errors.New("--all asks the daemon that --endpoint names: leave --address and --data-dir out")}
			case o.all:
				return allStatus(c, &o, connection)
			case offline && asks != "":
				return usageError{fmt.Errorf("--%s asks a daemon and --data-dir asks none: give one of them", asks)}
			case offline:
				return storedStatus(c.OutOrStdout(), &o)
			case c.Flags().Changed("address") && c.Flags().Changed("endpoint"):
				return usageError{errors.New("--address and --endpoint both name the daemon: give one of them")}
			}
			return liveStatus(c, &o, connection)
		},
	}
	c.Flags().StringVar(&o.address, "address", "", "HOST:PORT of the daemon's admin port, another way to say --endpoint http://HOST:PORT")
	c.Flags().StringVarP(&o.output, "output", "o", "text", "text or json (see docs/metrics.md, /status)")
	c.Flags().StringVar(&o.dataDir, "data-dir", "", "show the ledger that is stored in this directory, without asking a daemon")
	c.Flags().BoolVar(&o.all, "all", false, "show all nodes instead of this one")
	connection = ctl.NewConnection(c, ctlOptions())
	return c
}

// allStatus shows all nodes.
func allStatus(c *cobra.Command, o *statusOptions, connection *ctl.Connection) error {
	api, err := connection.Client(c.ErrOrStderr())
	if err != nil {
		return err
	}
	ok, err := ctl.PrintNodes(c.Context(), c.OutOrStdout(), api, o.output == "json")
	if err == nil && !ok {
		err = failedError{}
	}
	return err
}

// liveStatus asks a daemon.
func liveStatus(c *cobra.Command, o *statusOptions, connection *ctl.Connection) error {
	api, err := statusClient(c, o, connection)
	if err != nil {
		return err
	}
	body, err := api.Status(c.Context())
	if unreachable := new(client.UnreachableError); errors.As(err, &unreachable) {
		return hintedError{fmt.Errorf("the daemon does not answer: %w", err), unreachable.Hint() + " What is stored is shown with --data-dir."}
	}
	if err != nil {
		return err
	}
	var st admin.Status
	if err := json.Unmarshal(body, &st); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", api.Endpoint(), err)
	}
	if o.output == "json" {
		_, err = c.OutOrStdout().Write(body)
	} else {
		err = printStatus(c.OutOrStdout(), &st, time.Now())
	}
	if err == nil && st.Status != "ok" {
		err = failedError{}
	}
	return err
}

// statusClient asks what --address names, else what the other commands ask.
func statusClient(c *cobra.Command, o *statusOptions, connection *ctl.Connection) (*client.Client, error) {
	if o.address == "" {
		return connection.StatusClient(c.ErrOrStderr())
	}
	base, err := adminURL(o.address)
	if err != nil {
		return nil, usageError{err}
	}
	return connection.At(c.ErrOrStderr(), base)
}

// adminURL makes a URL of what was given: HOST:PORT will do.
func adminURL(address string) (string, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", fmt.Errorf("--address %q: want http://HOST:PORT", address)
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// storedStatus shows what a data directory holds.
func storedStatus(w io.Writer, o *statusOptions) error {
	stored, err := positions.ReadLedger(o.dataDir)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s holds no positions: has lbshipd run with --data-dir %s?", filepath.Clean(o.dataDir), o.dataDir)
	}
	if errors.Is(err, os.ErrPermission) {
		return hintedError{err, permissionHint("the data directory")}
	}
	if err != nil {
		return err
	}
	rows := admin.StoredRows(stored)
	if o.output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			Ledger []admin.LedgerStatus `json:"ledger"`
		}{rows})
	}
	return printLedger(w, rows)
}
