package ctl

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
	"github.com/lbshipd/lbshipd/config"
)

// objectName is what objects may be called.
var objectName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

func checkName(kind config.Kind, name string) error {
	if objectName.MatchString(name) {
		return nil
	}
	return usage("%q cannot be the name of a %s: 1 to 63 of a-z, 0-9, \".\", \"_\" and \"-\", beginning with a letter or digit", name, kind)
}

// oneName wants the name of an object.
func oneName(kind config.Kind) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage("%s takes a NAME", c.CommandPath())
		}
		if len(args) > 1 {
			return usage("%s takes one NAME; what is %q?", c.CommandPath(), args[1])
		}
		return checkName(kind, args[0])
	}
}

// kindTitles begin the help of create and update.
var kindTitles = map[config.Kind]string{
	config.KindSource: "a source: what is read", config.KindTarget: "a target: where it is sent",
	config.KindTLSBundle: "a TLS bundle: certificates that targets name",
	config.KindFormat:    "a line format, used as --log-format regex:NAME",
	config.KindService:   "a service: which format its lines have",
}

// examples of creating each kind; update has those that stand second.
var examples = map[config.Kind][2]string{
	config.KindSource: {"  lbshipd create source ceph --journald-units 'ceph-*' --min-level info --label role=storage\n" +
		"  lbshipd create source app --file-paths '/var/log/app/**/*.log' --log-format json",
		"  lbshipd update source ceph --min-level warning --label rack=7"},
	config.KindTarget: {"  lbshipd create target loki --loki-url https://loki.example.net:3100 --loki-bearer-token @token\n" +
		"  lbshipd create target siem --rsyslog-address logs.example.net:6514 --rsyslog-tls-bundle siem",
		"  lbshipd update target siem --rsyslog-address logs2.example.net:6514 --unset spool"},
	config.KindTLSBundle: {"  lbshipd create tls-bundle siem --ca ca.pem --cert node.pem --key node.key", "  lbshipd update tls-bundle siem --cert new.pem --key new.key"},
	config.KindFormat: {`  lbshipd create format app --regex '^(?P<time>\S+ \S+) (?P<level>[A-Z]+) (?P<message>.*)$'`,
		`  lbshipd update format app --time-layout '2006-01-02 15:04:05'`},
	config.KindService: {"  lbshipd create service my-daemon --log-format logfmt", "  lbshipd update service my-daemon --log-format json"},
}

type writeOptions struct {
	*Connection
	flags *objectFlags
	out   *output
	how   client.Write
}

// addHow adds the flags that all writes have.
func addHow(c *cobra.Command, how *client.Write) {
	c.Flags().BoolVar(&how.DryRun, "dry-run", false, "have everything checked, and change nothing")
	addReason(c, how)
}

func addReason(c *cobra.Command, how *client.Write) {
	c.Flags().StringVar(&how.Reason, "reason", "", "what the history is to say of why")
}

// outMessage is the output of commands that say what they have done.
const outMessage = "message"

// addWrite adds what all commands that write one object have.
func (w *writeOptions) addWrite(c *cobra.Command, o Options) {
	addHow(c, &w.how)
	w.out = addOutput(c, outMessage, outJSON, outYAML, outName)
	w.Connection = NewConnection(c, o)
}

// perKind makes a command with one command for each kind below it.
func perKind(use, short, long string, make func(kind config.Kind) *cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use + " KIND NAME", Short: short, Long: long, Args: group, RunE: group}
	c.FParseErrWhitelist.UnknownFlags = true // of a kind that is misspelt: that is to be said
	for _, kind := range config.Kinds() {
		sub := make(kind)
		for _, alias := range []string{kind.Plural(), kind.List(), string(kind[0]) + kind.List()[1:len(kind.List())-1]} {
			if alias != string(kind) {
				sub.Aliases = append(sub.Aliases, alias)
			}
		}
		c.AddCommand(sub)
	}
	return c
}

func newCreate(o Options) *cobra.Command {
	const long = `Create an object of the fields that the flags give; all others have their
defaults. It works on all nodes that it is for within about a second.

Lists are given with commas or by several flags; a comma within braces is part of
a glob, and one behind a backslash is itself. What is secret is given as a file.`
	return perKind("create", "Create a source, target, TLS bundle, format or service", long, func(kind config.Kind) *cobra.Command {
		w := &writeOptions{}
		c := &cobra.Command{Use: string(kind) + " NAME", Short: "Create " + kindTitles[kind], Args: oneName(kind), Example: examples[kind][0]}
		w.flags = addFlags(c, kind, true)
		w.addWrite(c, o)
		c.RunE = func(c *cobra.Command, args []string) error { return w.create(c, args[0]) }
		return c
	})
}

func newUpdate(o Options) *cobra.Command {
	const long = `Change the fields of an object that the flags give, and nothing else. Lists are
replaced as a whole; labels are set one by one (--label role=node) and taken away
with a dash behind (--label role-). --unset takes a field, or a part such as spool,
back to its default.

If somebody else changes the object meanwhile, the change is made on top of theirs,
unless it is about the same fields: then it is refused.`
	return perKind("update", "Change fields of a source, target, TLS bundle, format or service", long, func(kind config.Kind) *cobra.Command {
		w := &writeOptions{}
		c := &cobra.Command{Use: string(kind) + " NAME", Short: "Change " + kindTitles[kind], Args: oneName(kind), Example: examples[kind][1]}
		w.flags = addFlags(c, kind, false)
		c.Flags().StringSliceVar(&w.flags.unset, "unset", nil, "field (as its flag is called, or as in JSON) that takes its default again; may be given several times")
		w.addWrite(c, o)
		complete(c, "unset", w.flags.unsettable)
		c.ValidArgsFunction = completeNames(o, kind, true)
		c.RunE = func(c *cobra.Command, args []string) error { return w.update(c, args[0]) }
		return c
	})
}

// unsettable are the names that --unset takes.
func (o *objectFlags) unsettable() (names []string) {
	for i := range o.fields {
		names = append(names, o.fields[i].flag)
	}
	return names
}

// prepare makes what all writes of one object begin with.
func (w *writeOptions) prepare(c *cobra.Command) (*client.Client, []edit, error) {
	if err := w.out.check(); err != nil {
		return nil, nil, err
	}
	edits, err := w.flags.edits(c)
	if err != nil {
		return nil, nil, err
	}
	api, err := w.Client(c.ErrOrStderr())
	return api, edits, err
}

func (w *writeOptions) create(c *cobra.Command, name string) error {
	api, edits, err := w.prepare(c)
	if err != nil {
		return err
	}
	t := tree{"name": name}
	t.apply(edits)
	body, err := t.bytes()
	if err != nil {
		return err
	}
	r := ref{w.flags.kind, name}
	made, err := api.Create(c.Context(), r.kind, name, body, w.how)
	if err != nil {
		return about(r, existsHint(r, w.flags.nameFlags(err)))
	}
	return w.said(c, r, "created", made)
}

// existsHint says what to do about an object that is there already.
func existsHint(r ref, err error) error {
	var e *client.Error
	if errors.As(err, &e) && e.Code == 6 {
		return hinted{err, fmt.Sprintf("lbshipd update %s %s changes it.", r.kind, r.name)}
	}
	return err
}

func (w *writeOptions) update(c *cobra.Command, name string) error {
	r := ref{w.flags.kind, name}
	api, edits, err := w.prepare(c)
	if err != nil {
		return err
	}
	if len(edits) == 0 {
		return usage("nothing to change: give a flag for each field that is to change")
	}
	now, changed, err := change(c.Context(), api, r, edits, w.how)
	if err != nil {
		return about(r, w.flags.nameFlags(err))
	}
	if !changed {
		return w.said(c, r, "unchanged", now)
	}
	return w.said(c, r, "updated", now)
}

// change reads an object, makes edits and writes it back, if it is still what was
// read. If somebody was faster it is tried once more, unless they changed the same.
func change(ctx context.Context, api *client.Client, r ref, edits []edit, how client.Write) (now client.Object, changed bool, err error) {
	first, err := api.Get(ctx, r.kind, r.name, client.AsGiven)
	if err != nil {
		return now, false, missingHint(r, err)
	}
	before, err := parseTree(first.JSON)
	if err != nil {
		return now, false, err
	}
	now, err = write(ctx, api, r, first, edits, how)
	if client.Stale(err) {
		second, getErr := api.Get(ctx, r.kind, r.name, client.AsGiven)
		if getErr != nil {
			return now, false, getErr
		}
		after, parseErr := parseTree(second.JSON)
		if parseErr != nil {
			return now, false, parseErr
		}
		if !sameAt(before, after, edits) {
			return now, false, err
		}
		first = second
		now, err = write(ctx, api, r, first, edits, how)
	}
	return now, now.Etag != first.Etag || how.DryRun, err
}

func write(ctx context.Context, api *client.Client, r ref, from client.Object, edits []edit, how client.Write) (client.Object, error) {
	t, err := parseTree(from.JSON)
	if err != nil {
		return client.Object{}, err
	}
	t.apply(edits)
	body, err := t.bytes()
	if err != nil {
		return client.Object{}, err
	}
	how.IfMatch = from.Etag
	return api.Replace(ctx, r.kind, r.name, body, how)
}

// missingHint says what to do about an object that is not there.
func missingHint(r ref, err error) error {
	if client.NotFound(err) && r.kind != kindCollector {
		return hinted{err, fmt.Sprintf("lbshipd get %s lists those there are; lbshipd create %s makes one.", r.kind.Plural(), r.kind)}
	}
	return err
}

// said tells what was done, or prints the object.
func (w *writeOptions) said(c *cobra.Command, r ref, done string, o client.Object) error {
	tellWarnings(c, r, o.Warnings)
	if w.out.structured() {
		return w.out.print(c.OutOrStdout(), o.JSON)
	}
	text := r.String()
	if w.out.form != outName {
		text += " " + done + dryRunNote(w.how.DryRun)
	}
	_, err := fmt.Fprintln(c.OutOrStdout(), text)
	return err
}

func dryRunNote(dryRun bool) string {
	if dryRun {
		return " (dry run: nothing was changed)"
	}
	return ""
}

func tellWarnings(c *cobra.Command, r ref, warnings []string) {
	for _, text := range warnings {
		if !strings.Contains(text, r.name) {
			text = r.String() + ": " + text
		}
		fmt.Fprintln(c.ErrOrStderr(), "warning: "+screen.OneLine(text))
	}
}
