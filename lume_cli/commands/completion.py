"""`lume completion`: shell completion for `lume`."""

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    eval "$(lume completion bash)"                    # in ~/.bashrc (bash 4.4 or newer)
    eval "$(lume completion zsh)"                     # in ~/.zshrc, after compinit
    lume completion fish > ~/.config/fish/completions/lume.fish
    """
    from click.shell_completion import get_completion_class

    from lume_cli._output.stdout import writing

    kind = get_completion_class(shell)
    assert kind is not None
    completion = kind(context.find_root().command, {}, "lume", "_LUME_COMPLETE")
    with writing():
        click.echo(completion.source_template % completion.source_vars())
