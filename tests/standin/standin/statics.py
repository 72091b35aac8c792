"""The front end's page and the static trees: the real packages where they are installed."""

from importlib import util
from pathlib import Path

from aiohttp import web

_HOME = Path(__file__).resolve().parent.parent


def package_folder(name: str, below: str) -> Path | None:
    found = util.find_spec(name)
    folder = Path(found.origin).parent / below if found and found.origin else None
    return folder if folder and folder.is_dir() else None


def front_end_root(chosen: Path | None) -> Path:
    root = chosen or package_folder("comfyui_frontend_package", "static")
    if root is None:
        raise SystemExit("comfyui-frontend-package is not installed: pip install -r tests/requirements.txt")
    return root


def add_routes(routes: web.RouteTableDef, standin) -> None:
    root = front_end_root(standin.options.front_end_root)

    @routes.get("/")
    async def page(request: web.Request) -> web.FileResponse:
        fresh = {"Cache-Control": "no-cache", "Pragma": "no-cache", "Expires": "0"}
        return web.FileResponse(root / "index.html", headers=fresh)

    @routes.get("/extensions")
    async def extensions(request: web.Request) -> web.Response:
        scripts = sorted((root / "extensions").rglob("*.js"))
        return web.json_response([f"/{path.relative_to(root)}" for path in scripts])


def add_trees(app: web.Application, chosen_root: Path | None) -> None:
    """Last of all routes: the tree at / takes every path that nothing else took."""
    templates = package_folder("comfyui_workflow_templates", "templates") or _HOME / "templates"
    docs = package_folder("comfyui_embedded_docs", "docs")
    app.router.add_static("/templates", templates)
    if docs:
        app.router.add_static("/docs", docs)
    app.router.add_static("/", front_end_root(chosen_root))
