package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
	"github.com/lbshipd/lbshipd/config"
)

// cutCells is how much of a cell a table shows, in letters; -o wide shows all.
const cutCells = 60

type getOptions struct {
	*Connection
	out        *output
	noHeaders  bool
	noDefaults bool
	watch      bool
}

func newGet(o Options) *cobra.Command {
	g := &getOptions{}
	c := &cobra.Command{
		Use:   "get KIND [NAME...]",
		Short: "Show sources, targets, TLS bundles, formats, services, or collectors (nodes)",
		Long: `Show objects: source, target, tls-bundle, format, service, all of these (all), or
collector: what each node reports. Secrets are never shown.

A single object that is named is printed by itself with -o json and yaml; all else
as the lists that lbshipd apply takes.`,
		Example: `  lbshipd get sources
  lbshipd get target siem -o yaml
  lbshipd get all --no-defaults -o yaml > backup.yaml
  lbshipd get collectors --watch`,
		Args: func(_ *cobra.Command, args []string) error {
			_, err := parseRefs(args, kindAll, kindCollector)
			return err
		},
		ValidArgsFunction: completeRefs(o, kindAll, kindCollector),
	}
	g.out = addOutput(c, outTable, outWide, outJSON, outYAML, outName)
	c.Flags().BoolVar(&g.noHeaders, "no-headers", false, "leave out the titles of columns")
	c.Flags().BoolVar(&g.noDefaults, "no-defaults", false, "only what was given, without the defaults of the rest (-o json and yaml)")
	c.Flags().BoolVarP(&g.watch, "watch", "w", false, "then look every 2 s and print what has changed, until interrupted")
	g.Connection = NewConnection(c, o)
	c.RunE = func(c *cobra.Command, args []string) error { return g.run(c, args) }
	return c
}

func (g *getOptions) run(c *cobra.Command, args []string) error {
	if err := g.out.check(); err != nil {
		return err
	}
	api, err := g.Client(c.ErrOrStderr())
	if err != nil {
		return err
	}
	refs, err := parseRefs(args, kindAll, kindCollector)
	if err != nil {
		return err
	}
	kinds := config.Kinds()
	if len(refs) == 0 {
		kind, _ := parseKind(args[0], kindAll, kindCollector) // parseRefs took it
		if kind != kindAll {
			kinds = []config.Kind{kind}
		}
	} else if kinds = kindsOf(refs); len(kinds) > 0 && kinds[0] == kindAll {
		return usage("get all takes no names")
	}
	l := lister{api: api, kinds: kinds, refs: refs}
	if g.noDefaults && g.out.structured() {
		l.view = client.AsGiven
	}
	if g.watch {
		return g.watchAll(c, &l)
	}
	lists, err := l.list(c.Context())
	if err != nil {
		return err
	}
	return g.print(c, lists, len(refs) == 1)
}

// kindsOf returns the kinds that are named, each once.
func kindsOf(refs []ref) (kinds []config.Kind) {
	seen := map[config.Kind]bool{}
	for _, r := range refs {
		if !seen[r.kind] {
			seen[r.kind] = true
			kinds = append(kinds, r.kind)
		}
	}
	return kinds
}

// objectList is the objects of one kind.
type objectList struct {
	kind     config.Kind
	objects  []client.Object
	rejected []config.Rejected
}

// lister asks for objects, again and again if need be.
type lister struct {
	api   *client.Client
	kinds []config.Kind
	refs  []ref // only these; none: all of the kinds
	view  client.View

	last map[config.Kind]client.Objects
}

func (l *lister) list(ctx context.Context) ([]objectList, error) {
	var lists []objectList
	for _, kind := range l.kinds {
		some, err := l.one(ctx, kind)
		if err != nil {
			return nil, err
		}
		lists = append(lists, objectList{kind, some.Objects, some.Rejected})
	}
	return lists, nil
}

// one returns the objects of one kind.
func (l *lister) one(ctx context.Context, kind config.Kind) (client.Objects, error) {
	if len(l.refs) > 0 && kind != kindCollector {
		return l.named(ctx, kind)
	}
	if l.last == nil {
		l.last = map[config.Kind]client.Objects{}
	}
	some, err := l.changed(ctx, kind)
	if errors.Is(err, client.ErrNotModified) {
		return l.last[kind], nil
	}
	if err == nil {
		l.last[kind] = some
	}
	return some, err
}

func (l *lister) named(ctx context.Context, kind config.Kind) (some client.Objects, err error) {
	for _, r := range l.refs {
		if r.kind != kind {
			continue
		}
		object, err := l.api.Get(ctx, r.kind, r.name, l.view)
		if err != nil {
			return some, about(r, err)
		}
		for _, text := range object.Warnings {
			some.Rejected = append(some.Rejected, config.Rejected{Kind: r.kind, Name: r.name, Reason: text})
		}
		some.Objects = append(some.Objects, object)
	}
	return some, nil
}

func (l *lister) changed(ctx context.Context, kind config.Kind) (client.Objects, error) {
	if kind != kindCollector {
		return l.api.ListChanged(ctx, kind, l.view, l.last[kind].Etag)
	}
	nodes, etag, err := l.api.CollectorsChanged(ctx, l.last[kind].Etag)
	if err != nil {
		return client.Objects{}, err
	}
	objects, err := pickNodes(nodes, l.refs)
	return client.Objects{Objects: objects, Etag: etag}, err
}

// pickNodes makes objects of what nodes report, only of those that are named.
func pickNodes(nodes []client.Collector, refs []ref) ([]client.Object, error) {
	byID := map[string]client.Object{}
	var all []client.Object
	for i := range nodes {
		o := client.Object{Kind: kindCollector, Name: nodes[i].ID, JSON: nodes[i].JSON}
		byID[o.Name] = o
		all = append(all, o)
	}
	if len(refs) == 0 {
		return all, nil
	}
	var picked []client.Object
	for _, r := range refs {
		o, ok := byID[r.name]
		if !ok {
			return nil, fmt.Errorf("%s: no such node has reported", r)
		}
		picked = append(picked, o)
	}
	return picked, nil
}

// print writes lists in the form that was asked for.
func (g *getOptions) print(c *cobra.Command, lists []objectList, single bool) error {
	w := c.OutOrStdout()
	for _, l := range lists {
		for _, r := range l.rejected {
			fmt.Fprintf(c.ErrOrStderr(), "warning: %s: %s\n", ref{r.Kind, screen.OneLine(r.Name)}, screen.OneLine(r.Reason))
		}
	}
	switch {
	case g.out.structured() && single:
		return g.out.print(w, lists[0].objects[0].JSON)
	case g.out.structured():
		return g.out.print(w, listsJSON(lists))
	}
	shown := 0
	for _, l := range lists {
		if len(l.objects) == 0 {
			continue
		}
		if shown > 0 && g.out.form != outName {
			fmt.Fprintln(w)
		}
		shown++
		if err := g.printTable(w, l, len(lists) > 1); err != nil {
			return err
		}
	}
	if shown == 0 && g.out.form != outName {
		fmt.Fprintln(c.ErrOrStderr(), nothing(lists))
	}
	return nil
}

// nothing says that there is nothing of the kinds, and how to get something.
func nothing(lists []objectList) string {
	if len(lists) != 1 {
		return "Nothing is configured yet. Begin with lbshipd create source --help, or lbshipd apply -f FILE."
	}
	if kind := lists[0].kind; kind != kindCollector {
		return fmt.Sprintf("There are no %s. Create one: lbshipd create %s --help", kind.Plural(), kind)
	}
	return "No node has reported yet."
}

// listsJSON writes lists as lbshipd apply takes them.
func listsJSON(lists []objectList) []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, l := range lists {
		if i > 0 {
			b.WriteByte(',')
		}
		name, _ := json.Marshal(listName(l.kind))
		b.Write(name)
		b.WriteString(":[")
		for j, o := range l.objects {
			if j > 0 {
				b.WriteByte(',')
			}
			b.Write(o.JSON)
		}
		b.WriteByte(']')
	}
	b.WriteByte('}')
	return b.Bytes()
}

func listName(kind config.Kind) string {
	if kind == kindCollector {
		return "collectors"
	}
	return kind.List()
}

// printTable writes one kind; where there are several, names are KIND/NAME.
func (g *getOptions) printTable(w io.Writer, l objectList, several bool) error {
	t := g.getTable()
	if !g.noHeaders && g.out.form != outName {
		t.Add(g.titles(l.kind)...)
	}
	for _, o := range l.objects {
		cells, err := g.cells(l.kind, o)
		if err != nil {
			return err
		}
		if several {
			cells[0] = ref{l.kind, o.Name}.String()
		}
		t.Add(cells...)
	}
	return t.Flush(w)
}

func (g *getOptions) getTable() *screen.Table {
	if g.out.form == outTable {
		return &screen.Table{Cut: cutCells}
	}
	return &screen.Table{}
}

func (g *getOptions) titles(kind config.Kind) (titles []string) {
	for _, col := range columnsOf(kind) {
		if !col.wide || g.out.form == outWide {
			titles = append(titles, col.title)
		}
	}
	return titles
}

func (g *getOptions) cells(kind config.Kind, o client.Object) (cells []string, err error) {
	if g.out.form == outName {
		return []string{ref{kind, o.Name}.String()}, nil
	}
	t, err := parseTree(o.JSON)
	if err != nil {
		return nil, err
	}
	for _, col := range columnsOf(kind) {
		if !col.wide || g.out.form == outWide {
			cells = append(cells, col.cell(t))
		}
	}
	return cells, nil
}

func columnsOf(kind config.Kind) []column {
	if kind == kindCollector {
		return collectorColumns
	}
	return columns[kind]
}
