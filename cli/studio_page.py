"""The page of `rwgen studio`, made of Gradio's components."""

from __future__ import annotations

import html
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import gradio

from rwgen.cli.studio_controls import Control, style_controls
from rwgen.cli.studio_jobs import Jobs, News
from rwgen.cli.studio_masks import COLORS, canvas, masks
from rwgen.errors import RwgenError

STYLE = """
.stage {
  display: grid; place-items: center; min-height: 320px; border-radius: 8px; overflow: hidden;
  border: 1px solid var(--border-color-primary); background: var(--block-background-fill);
}
.stage img { width: 100%; max-height: 72vh; object-fit: contain; }
.stage p { margin: 0; color: var(--block-info-text-color); }
.line { display: flex; align-items: center; gap: 12px; padding: 10px 2px 0; }
.bar { flex: 1; height: 8px; border-radius: 99px; background: var(--border-color-primary); }
.bar div { height: 100%; border-radius: 99px; background: var(--color-accent); }
.line.bad { color: var(--error-text-color, #b3261e); }
.form > .block { display: flex; flex-direction: column; justify-content: flex-end; }
#content, #style { min-width: 0 !important; }
footer { display: none !important; }
"""
REGIONS = (
    "Paint the same colors on both images: an area of the content takes its style from the areas "
    "of its color in the style image. What is not painted is a region, too."
)
EMPTY = '<div class="stage"><p>Choose two images, then press Start.</p></div>'


def studio_theme() -> gradio.themes.Base:
    """The look of the page, without fonts of other machines."""
    theme = gradio.themes.Default(
        primary_hue="blue",
        neutral_hue="stone",
        font=["system-ui", "sans-serif"],
        font_mono=["monospace"],
    )
    # Gradio's own gray is too light to read.
    return theme.set(
        block_info_text_color="*neutral_500", block_info_text_color_dark="*neutral_400"
    )


def studio_page(jobs: Jobs) -> gradio.Blocks:
    """Make the page.

    Args:
        jobs: runs what is started on it.
    """
    controls = style_controls()
    page = gradio.Blocks(title="rwgen studio", analytics_enabled=False, fill_width=True)
    with page:
        gradio.Markdown("# rwgen studio\nThe content of one image in the style of another.")
        with gradio.Row():
            with gradio.Column(scale=2, min_width=320):
                with gradio.Row():
                    content = _drop("Content", "content")
                    style = _drop("Style", "style")
                with gradio.Accordion("Regions", open=False, elem_id="regions"):
                    gradio.Markdown(REGIONS)
                    painted = [
                        _editor("Content regions", "content-regions"),
                        _editor("Style regions", "style-regions"),
                    ]
                components = _shown(controls)
                with gradio.Row():
                    start = gradio.Button("Start", variant="primary", elem_id="start")
                    stop = gradio.Button("Stop", elem_id="stop")
            with gradio.Column(scale=3, min_width=320):
                live = gradio.HTML(EMPTY, elem_id="live")
                download = gradio.DownloadButton(
                    "Download the result", interactive=False, elem_id="download"
                )
                results = gradio.Gallery(
                    label="Results",
                    columns=4,
                    height=240,
                    fit_columns=False,
                    object_fit="contain",
                    interactive=False,
                    buttons=["download", "fullscreen"],
                    elem_id="results",
                )

        def run(
            request: gradio.Request,
            content: str | None,
            style: str | None,
            shown: list[tuple[str, Any]] | None,
            content_regions: dict[str, Any] | None,
            style_regions: dict[str, Any] | None,
            *values: Any,
        ) -> Iterator[tuple[Any, Any, Any]]:
            if content is None or style is None:
                raise gradio.Error("Choose a content image and a style image first.")
            named = {control.name: value for control, value in zip(controls, values, strict=True)}
            try:
                found = masks(content_regions, style_regions)
                for news in jobs.run(str(request.session_hash), content, style, named, found):
                    done, made = gradio.skip(), gradio.skip()
                    if news.result is not None:
                        path = str(news.result)
                        done = gradio.DownloadButton(value=path, interactive=True)
                        made = [(path, Path(path).name), *(shown or [])]
                    yield live_html(news), done, made
            except RwgenError as error:
                raise gradio.Error(str(error)) from None

        start.click(
            run,
            [content, style, results, *painted, *components],
            [live, download, results],
            concurrency_limit=1,
            trigger_mode="multiple",
            show_progress="minimal",
            show_progress_on=[live],
            api_visibility="private",
        )

        for image, editor in zip((content, style), painted, strict=True):
            image.change(_canvas, image, editor, queue=False, api_visibility="private")

        def end(request: gradio.Request) -> None:
            jobs.stop(str(request.session_hash))

        stop.click(end, queue=False, api_visibility="private")
    return page


def _canvas(path: str | None) -> Any:
    try:
        return canvas(path)
    except RwgenError:  # the search says what is wrong with it
        return None


def live_html(news: News) -> str:
    """The image so far, and how far the search is.

    Args:
        news: what is known of a job.
    """
    shown = f'<img src="{news.image}" alt="The best image so far">'
    stage = shown if news.image else "<p>The search begins.</p>"
    if news.message:
        kind = "line bad" if news.result is None else "line"
        line = f'<div class="{kind}" id="outcome">{html.escape(news.message)}</div>'
    else:
        share = 100 * news.iteration / max(news.total, 1)
        line = (
            f'<div class="line"><div class="bar"><div style="width: {share:.1f}%"></div></div>'
            f"<span>{news.iteration} of {news.total}, {html.escape(news.status)}</span></div>"
        )
    return f'<div class="stage">{stage}</div>{line}'


def _drop(label: str, name: str) -> gradio.Image:
    return gradio.Image(
        label=label,
        type="filepath",
        image_mode=None,  # the file as it is
        sources=["upload", "clipboard"],
        height=220,
        elem_id=name,
    )


def _editor(label: str, name: str) -> gradio.ImageEditor:
    """An image to paint regions on, with nothing but a brush and an eraser."""
    return gradio.ImageEditor(
        label=label,
        sources=(),
        transforms=(),
        layers=False,
        brush=gradio.Brush(colors=list(COLORS.values()), color_mode="fixed"),
        format="png",
        buttons=[],
        height=380,
        elem_id=name,
    )


def _shown(controls: list[Control]) -> list[Any]:
    """The components of controls, in their order; those of a panel are folded."""
    components = []
    for panel, group in groupby(controls, lambda control: control.panel):
        if not panel:
            with gradio.Row():
                components += [_component(control) for control in group]
            continue
        with gradio.Accordion(panel, open=False):
            components += [_component(control) for control in group]
    return components


def _component(control: Control) -> Any:
    common: dict[str, Any] = {
        "label": control.label,
        "info": control.text,
        "elem_id": f"option-{control.name}",
    }
    if control.kind == "switch":
        return gradio.Checkbox(control.default, **common)
    if control.kind == "choice":
        return gradio.Dropdown(list(control.choices), value=control.default, **common)
    if control.kind == "text":
        return gradio.Textbox(control.default, **common)
    limits: dict[str, Any] = {"minimum": control.least, "maximum": control.most}
    precision = 0 if control.kind == "whole" else None
    return gradio.Number(
        control.default, precision=precision, step=1, min_width=150, **limits, **common
    )
