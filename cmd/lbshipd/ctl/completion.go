package ctl

import (
	"context"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lbshipd/lbshipd/admin/client"
	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
)

// completionTimeout bounds what a shell waits for names.
const completionTimeout = time.Second

// completer is what cobra asks for what may come next.
type completer = func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective)

func newCompletion() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print what makes a shell complete commands, flags and names",
		Long: `Print a script that makes a shell complete commands, flags, and the names of
objects, for which the daemon is asked (for a second at most).

  bash:  lbshipd completion bash > /etc/bash_completion.d/lbshipd
  zsh:   lbshipd completion zsh > "${fpath[1]}/_lbshipd"
  fish:  lbshipd completion fish > ~/.config/fish/completions/lbshipd.fish`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(shells, args[0]) {
				return usage("%s takes one of %s", c.CommandPath(), strings.Join(shells, ", "))
			}
			return nil
		},
		ValidArgs: shells,
		RunE: func(c *cobra.Command, args []string) error {
			root, w := c.Root(), c.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(w, true)
			case "zsh":
				return root.GenZshCompletion(w)
			}
			return root.GenFishCompletion(w, true)
		},
	}
}

// complete completes a flag's values.
func complete(c *cobra.Command, flag string, values func() []string) {
	completeBy(c, flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return values(), cobra.ShellCompDirectiveNoFileComp
	})
}

func completeBy(c *cobra.Command, flag string, f completer) {
	if err := c.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // no such flag: a mistake in this program
	}
}

// fileFlags completes flags with the names of files.
func fileFlags(c *cobra.Command, flags ...string) {
	for _, flag := range flags {
		if err := c.MarkFlagFilename(flag); err != nil {
			panic(err) // no such flag: a mistake in this program
		}
	}
}

// completeFields completes the flags of an object's fields.
func completeFields(c *cobra.Command, o *objectFlags) {
	for i := range o.fields {
		f := &o.fields[i]
		switch name := f.path[len(f.path)-1]; {
		case f.shape == shapePEM:
			fileFlags(c, f.flag)
		case f.shape == shapeLevel:
			complete(c, f.flag, record.Levels)
		case f.shape == shapeBool:
			complete(c, f.flag, func() []string { return []string{"true", "false"} })
		case name == "logFormat":
			complete(c, f.flag, config.LogFormats)
		case name == "facility":
			complete(c, f.flag, config.Facilities)
		}
	}
}

// asked returns names that the daemon is asked for, none if it does not answer soon.
func asked(c *cobra.Command, o Options, names func(ctx context.Context, api *client.Client) ([]string, error)) []string {
	ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
	defer cancel()
	n := &Connection{o: o, timeout: completionTimeout}
	for flag, value := range map[string]*string{"endpoint": &n.endpoint, "jwt": &n.jwt, "ca-file": &n.caFile, "cert-file": &n.certFile, "key-file": &n.keyFile} {
		if f := c.Flags().Lookup(flag); f != nil {
			*value = f.Value.String()
		}
	}
	api, err := n.Client(io.Discard)
	if err != nil {
		return nil
	}
	list, err := names(ctx, api)
	if err != nil {
		cobra.CompDebugln(err.Error(), false)
		return nil
	}
	return list
}

// namesOf returns the names of a kind's objects.
func namesOf(ctx context.Context, api *client.Client, kind config.Kind) (names []string, err error) {
	if kind == kindCollector {
		nodes, err := api.Collectors(ctx)
		for i := range nodes {
			names = append(names, nodes[i].ID)
		}
		return names, err
	}
	list, err := api.List(ctx, kind, client.AsGiven)
	for _, o := range list.Objects {
		names = append(names, o.Name)
	}
	return names, err
}

// completeNames completes the names of one kind: one of them, or any number.
func completeNames(o Options, kind config.Kind, one bool) completer {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if one && len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names := asked(c, o, func(ctx context.Context, api *client.Client) ([]string, error) { return namesOf(ctx, api, kind) })
		return safeWords(names, args), cobra.ShellCompDirectiveNoFileComp
	}
}

// safeWords leaves out what is given already, and what no object can be called: a
// shell must not be handed it.
func safeWords(names, given []string) (list []string) {
	for _, name := range names {
		odd := strings.ContainsFunc(name, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:", r)
		})
		if !odd && !slices.Contains(given, name) {
			list = append(list, name)
		}
	}
	return list
}

// completeRefs completes KIND NAME...
func completeRefs(o Options, more ...config.Kind) completer {
	return completeRefsOf(o, append(config.Kinds(), more...)...)
}

func completeRefsOf(o Options, kinds ...config.Kind) completer {
	return func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			var words []string
			for _, kind := range kinds {
				words = append(words, string(kind))
			}
			return words, cobra.ShellCompDirectiveNoFileComp
		}
		kind, err := parseKind(args[0], kindAll, kindCollector)
		if err != nil || kind == kindAll {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return completeNames(o, kind, false)(c, args[1:], begun)
	}
}

// completeRevisions completes the ID of a change.
func completeRevisions(o Options) completer {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ids := asked(c, o, func(ctx context.Context, api *client.Client) (ids []string, err error) {
			revisions, err := api.History(ctx)
			for i := range revisions {
				ids = append(ids, strconv.FormatInt(revisions[i].ID, 10))
			}
			return ids, err
		})
		return ids, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}
