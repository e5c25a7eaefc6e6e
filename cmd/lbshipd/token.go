package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/admin/auth"
)

type tokenOptions struct {
	key, role string
	mint      auth.MintOptions
}

func newToken() *cobra.Command {
	o := &tokenOptions{}
	c := &cobra.Command{
		Use:   "token --key FILE",
		Short: "Make a token for the API from a private key",
		Long: `Make a token (JWT) for the API and print it. This is for labs and tests: where
there is an identity provider, let the daemon take its tokens (--jwt-keys URL).

The key is a private one in PEM: PKCS #8, PKCS #1 or SEC 1; RSA of at least 2048
bits (RS256), EC P-256 (ES256) or P-384 (ES384), or Ed25519 (EdDSA). To begin with:

  lbshipd token keygen lab.key
  lbshipd run --jwt-keys lab.pub ...
  export LBSHIPD_JWT=$(lbshipd token --key lab.key --role admin)

A daemon whose --jwt-keys is a directory or a JWKS with many keys finds the one
sooner with --kid. One with --jwt-audience or --jwt-issuer wants --audience and
--issuer here.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return mintToken(c, o) },
	}
	f := c.Flags()
	f.StringVar(&o.key, "key", "", "private key (PEM file)")
	f.StringVar(&o.mint.Subject, "subject", "", "whom it is for: the name in the history and the log")
	f.Lookup("subject").Annotations = map[string][]string{"default": {"the user's name"}}
	f.StringVar(&o.role, "role", "viewer", "what it allows: viewer, editor or admin")
	f.DurationVar(&o.mint.TTL, "ttl", time.Hour, "how long it is valid")
	f.StringArrayVar(&o.mint.Audience, "audience", nil, "whom it is meant to be shown to (aud); repeatable")
	f.StringVar(&o.mint.Issuer, "issuer", "", "who issues it (iss)")
	f.StringVar(&o.mint.Kid, "kid", "", "name of the key (kid)")
	f.StringVar(&o.mint.RolesClaim, "roles-claim", "roles", "claim that the role stands in; dots lead into objects")
	c.AddCommand(newTokenKeygen(), newTokenInspect())
	return c
}

func mintToken(c *cobra.Command, o *tokenOptions) error {
	if o.key == "" {
		return usageError{errors.New("--key is missing: the private key to sign with (lbshipd token keygen makes one)")}
	}
	var err error
	if o.mint.Role, err = auth.ParseRole(o.role); err != nil {
		return usageError{fmt.Errorf("--role: %w", err)}
	}
	if o.mint.Subject == "" {
		u, err := user.Current()
		if err != nil {
			return usageError{errors.New("--subject is missing: whom the token is for")}
		}
		o.mint.Subject = u.Username
	}
	private, err := auth.ReadPrivateKey(o.key)
	if err != nil {
		return err
	}
	if !auth.KeyIsPrivate(o.key) {
		fmt.Fprintf(c.ErrOrStderr(), "warning: others can read %s and make tokens as they like: chmod 600 %s\n", o.key, o.key)
	}
	o.mint.Now = time.Now()
	token, err := auth.Mint(private, o.mint)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.OutOrStdout(), token)
	return err
}

func newTokenKeygen() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen FILE",
		Short: "Make a key pair that tokens are signed and verified with",
		Long: `Make an Ed25519 key pair: the private key in FILE, which only its owner can
read, and the public one beside it with the suffix .pub, for lbshipd run
--jwt-keys. Files that exist are not overwritten.`,
		Args: exactArgs(1, "one FILE, such as lab.key"),
		RunE: func(c *cobra.Command, args []string) error {
			public, err := auth.GenerateKey(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "private key: %s (lbshipd token --key %s)\npublic key: %s (lbshipd run --jwt-keys %s)\n",
				args[0], args[0], public, public)
			return err
		},
	}
}

func newTokenInspect() *cobra.Command {
	f := &auth.Flags{}
	c := &cobra.Command{
		Use:   "inspect [TOKEN]",
		Short: "Verify a token as the daemon would, and print what it says",
		Long: `Verify a token as a daemon with the same flags would, and print whom it is
for, the role that it gives and its claims as JSON; or say why it is refused. Without TOKEN it is read
from standard input, so that others on this machine do not see it among the processes.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{errors.New("lbshipd token inspect takes one TOKEN, or none to read it from standard input")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(f.Keys) == 0 {
				return usageError{errors.New("--jwt-keys is missing: the public keys to verify the token with")}
			}
			if len(args) == 1 {
				return inspectToken(c, f, args[0])
			}
			text, err := io.ReadAll(io.LimitReader(c.InOrStdin(), 64<<10))
			if err != nil {
				return fmt.Errorf("reading the token from standard input: %w", err)
			}
			return inspectToken(c, f, strings.TrimSpace(string(text)))
		},
	}
	f.RegisterTokens(c.Flags())
	return c
}

func inspectToken(c *cobra.Command, f *auth.Flags, token string) error {
	if err := f.Check(); err != nil {
		return usageError{err}
	}
	verifier, done, err := f.Open(slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	defer done()
	id, claims, err := verifier.Inspect(c.Context(), token)
	if claims == nil {
		return err
	}
	text, failed := json.MarshalIndent(struct {
		Name   string         `json:"name,omitempty"`
		Role   string         `json:"role"`
		Claims map[string]any `json:"claims"`
	}{id.Name, id.Role.String(), claims}, "", "  ")
	if failed != nil {
		return failed
	}
	if _, failed := fmt.Fprintf(c.OutOrStdout(), "%s\n", text); failed != nil {
		return failed
	}
	return err
}
