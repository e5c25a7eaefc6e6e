//go:build !appliance

package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
	"github.com/lbshipd/lbshipd/config/etcdstore"
	"github.com/lbshipd/lbshipd/internal/seal"
)

func newKeygen() *cobra.Command {
	var add, promote, prune bool
	c := &cobra.Command{
		Use:   "keygen FILE",
		Short: "Make or change the key file that secrets in etcd are encrypted with",
		Long: `Make a cluster key file, which all nodes have the same copy of
(lbshipd run --cluster-key-file FILE): with it the private keys, passwords and
tokens in etcd are encrypted (AES-256-GCM). It is readable by its owner only. Keep a
copy of it elsewhere: without it these secrets are lost.

To change to a new key, without a node ever being without the one it needs:

  lbshipd keygen --add FILE        a new key, which opens and does not seal yet
                                   (copy FILE to all nodes; they notice by themselves)
  lbshipd keygen --promote FILE    the new key seals (copy it again)
  lbshipd rotate-secrets ...       all that is in etcd is sealed with it
  lbshipd keygen --prune FILE      the old key is dropped (copy it again)`,
		Args: exactArgs(1, "the path of the key file"),
		RunE: func(c *cobra.Command, args []string) error {
			does, what := seal.Create, "made key %s in %s. Copy the file to all nodes, and keep one copy elsewhere.\n"
			switch {
			case add && promote, add && prune, promote && prune:
				return usageError{errors.New("one of --add, --promote and --prune at a time")}
			case add:
				does, what = seal.Add, "added key %s to %s. Copy the file to all nodes, then: lbshipd keygen --promote\n"
			case promote:
				does, what = seal.Promote, "key %s in %s seals from now on. Copy the file to all nodes, then: lbshipd rotate-secrets\n"
			case prune:
				does, what = seal.Prune, "key %s is the only one in %s. Copy the file to all nodes.\n"
			}
			id, err := does(args[0])
			if errors.Is(err, fs.ErrExist) {
				return hintedError{err, "Another key is added with --add; nothing is overwritten."}
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), what, id, args[0])
			return err
		},
	}
	c.Flags().BoolVar(&add, "add", false, "add a new key behind the others: it opens, and does not seal yet")
	c.Flags().BoolVar(&promote, "promote", false, "make the last key the first one, which seals")
	c.Flags().BoolVar(&prune, "prune", false, "drop all keys but the first one, after rotate-secrets: what is sealed with the others does not open any more")
	return c
}

func newRotateSecrets() *cobra.Command {
	f := &etcdFlags{}
	c := &cobra.Command{
		Use:   "rotate-secrets --etcd-endpoints URL --cluster-key-file FILE",
		Short: "Encrypt all secrets in etcd with the first key of the key file",
		Long: `Encrypt all secrets in etcd, also those that its history keeps, with the first key of
the cluster key file: those that are sealed with another key of the file, and those that are in clear.
Daemons may be running and objects may be changed meanwhile; each object is written by
itself, and nothing but its secrets' form changes. It may be repeated. See
"lbshipd keygen" for the whole way to a new key.

Exit codes: 0 all is sealed with the first key, 1 failed or something is left, 2 wrong usage.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if len(f.endpoints) == 0 || f.clusterKey == "" {
				return usageError{errors.New("--etcd-endpoints and --cluster-key-file are needed")}
			}
			return rotateSecrets(c, f)
		},
	}
	f.registerAccess(c.Flags())
	return c
}

func rotateSecrets(c *cobra.Command, f *etcdFlags) error {
	log, err := newLog(&runOptions{logFormat: "text", logLevel: "warn"}, c.ErrOrStderr())
	if err != nil {
		return err
	}
	options, err := f.options(log)
	if err != nil {
		return err
	}
	store, err := etcdstore.New(options)
	if err != nil {
		return err
	}
	defer store.Close()
	done, err := store.Reseal(c.Context())
	if err == nil || done.Secrets > 0 {
		fmt.Fprintf(c.OutOrStdout(), "sealed %s with key %s, in %s and %s of the history\n", screen.Count(done.Secrets, "secret"), done.KeyID,
			screen.Count(done.Objects, "object"), entries(done.History))
	}
	for _, left := range done.Errors {
		fmt.Fprintf(c.ErrOrStderr(), "lbshipd: left as it is: %v\n", left)
	}
	if err != nil {
		return fmt.Errorf("sealing the secrets in etcd: %w", err)
	}
	if len(done.Errors) > 0 {
		return failedError{}
	}
	return nil
}

func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}
