"""
The Jupyter Kernel Gateway's options: which options of kgd they are, and which have no effect.

Each is named after a class and one of its traits, like ``MappingKernelManager.cull_interval``. The
class may also be any ancestor of the class that the gateway uses; the nearest one wins.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen
class TraitAliases:
    """
    A class with its ancestors, and the options that their traits stand for.

    :ivar classes: The names of the classes, the nearest first.
    :ivar options: From traits to the names of kgd's options.
    :ivar actions: From traits to other words of kgd's command line.
    :ivar no_effect: From traits that have no effect to the reason.
    """

    classes: tuple[str, ...]
    options: Mapping[str, str]
    actions: Mapping[str, str] = attrs.field(factory=dict)
    no_effect: Mapping[str, str] = attrs.field(factory=dict)


def _same_names(traits: str) -> dict[str, str]:
    return {trait: trait.replace("_", "-") for trait in traits.split()}


def _no_effect(traits: str, reason: str) -> dict[str, str]:
    return dict.fromkeys(traits.split(), reason)


_BASES = ("LoggingConfigurable", "Configurable")
_NO_CLASSES = "kgd is extended with personalities and launchers, not with classes of Jupyter's"
_LOGS = "twistd writes the log; use its --logfile and --logger"
_COOKIES = "kgd uses no cookies for authentication"
_ADDRESS = "every kernel gets its own address and connection file"
_BYTES = "messages pass through unchanged, as bytes"

TRAIT_ALIASES = (
    TraitAliases(
        ("KernelGatewayApp", "JupyterApp", "Application", "SingletonConfigurable", *_BASES),
        _same_names(
            "ip port port_retries base_url auth_token allow_origin allow_credentials allow_headers "
            "allow_methods expose_headers max_age trust_xheaders max_kernels seed_uri "
            "prespawn_count default_kernel_name force_kernel_name env_process_whitelist api "
            "certfile keyfile client_ca ssl_version ws_ping_interval log_level"
        ),
        {
            "config_file": "config",
            "generate_config": "generate-config",
            "show_config": "show-config",
            "show_config_json": "show-config-json",
            "answer_yes": "force",
        },
        _no_effect(
            "kernel_manager_class kernel_spec_manager_class kernel_websocket_connection_class "
            "authorizer_class identity_provider_class",
            _NO_CLASSES,
        )
        | _no_effect("log_format log_datefmt logging_config", _LOGS)
        | _no_effect("cookie_secret cookie_secret_file", _COOKIES)
        | _no_effect("config_file_name", "the file names are fixed; use --config for another file"),
    ),
    TraitAliases(
        ("JupyterWebsocketPersonality", *_BASES),
        _same_names("list_kernels env_whitelist"),
    ),
    TraitAliases(
        ("NotebookHTTPPersonality", *_BASES),
        _same_names("cell_parser comment_prefix allow_notebook_download static_path"),
    ),
    TraitAliases(
        (
            "SeedingMappingKernelManager",
            "AsyncMappingKernelManager",
            "MappingKernelManager",
            "AsyncMultiKernelManager",
            "MultiKernelManager",
            *_BASES,
        ),
        _same_names(
            "cull_idle_timeout cull_interval cull_connected cull_busy buffer_offline_messages "
            "kernel_info_timeout allowed_message_types allow_tracebacks "
            "traceback_replacement_message untracked_message_types root_dir default_kernel_name "
            "transport_encryption allowed_kernelspecs"
        ),
        no_effect=_no_effect("kernel_manager_class", _NO_CLASSES)
        | _no_effect("shared_context", "all kernels share one ZeroMQ context")
        | _no_effect("use_pending_kernels", "a request is answered when the kernel's process runs"),
    ),
    TraitAliases(
        (
            "KernelGatewayIOLoopKernelManager",
            "AsyncIOLoopKernelManager",
            "IOLoopKernelManager",
            "AsyncKernelManager",
            "KernelManager",
            "ConnectionFileMixin",
            *_BASES,
        ),
        {**_same_names("shutdown_wait_time autorestart transport transport_encryption"),
         "ip": "kernel-ip"},
        no_effect=_no_effect("shell_port iopub_port stdin_port hb_port control_port", _ADDRESS)
        | _no_effect("connection_file", f"{_ADDRESS}; use --connection-dir to choose the directory")
        | _no_effect("cache_ports", "a port is never given to two kernels")
        | _no_effect("client_class client_factory restarter_class", _NO_CLASSES)
        | _no_effect("extra_env kernel_cmd", "the kernelspec has the command and the environment"),
    ),
    TraitAliases(
        ("AsyncIOLoopKernelRestarter", "IOLoopKernelRestarter", "KernelRestarter", *_BASES),
        _same_names("restart_limit time_to_dead stable_start_time"),
        no_effect=_no_effect(
                "random_ports_until_alive", "a kernel that never worked gets new ports"
            )
        | _no_effect("debug", "use --log-level=debug"),
    ),
    TraitAliases(
        ("ZMQChannelsWebsocketConnection", "BaseKernelWebsocketConnection", *_BASES),
        _same_names(
            "limit_rate iopub_msg_rate_limit iopub_data_rate_limit rate_limit_window "
            "kernel_ws_protocol"
        ),
        no_effect=_no_effect("session", "every kernel has its own session"),
    ),
    TraitAliases(
        ("Session", "Configurable"),
        _same_names("signature_scheme username"),
        no_effect=_no_effect("key keyfile", "every kernel gets its own random key")
        | _no_effect("session", "every kernel has its own session")
        | _no_effect("metadata", "the gateway's own messages have no metadata")
        | _no_effect(
            "packer unpacker copy_threshold buffer_threshold item_threshold "
            "digest_history_size",
            _BYTES,
        )
        | _no_effect("check_pid debug", "sessions are not shared with other processes"),
    ),
    TraitAliases(
        ("KernelSpecManager", *_BASES),
        {**_same_names("allowed_kernelspecs ensure_native_kernel"),
         "whitelist": "allowed-kernelspecs"},
        no_effect=_no_effect("kernel_spec_class", _NO_CLASSES),
    ),
    TraitAliases(
        ("GatewayIdentityProvider", "IdentityProvider", *_BASES),
        {},
        no_effect=_no_effect("token", "use --auth-token")
        | _no_effect("cookie_name cookie_options get_secure_cookie_kwargs secure_cookie", _COOKIES)
        | _no_effect("login_handler_class logout_handler_class", _NO_CLASSES)
        | _no_effect("updatable_fields", "all clients are the same user"),
    ),
    TraitAliases(
        ("KernelProvisionerFactory", "SingletonConfigurable", *_BASES),
        {},
        no_effect=_no_effect("default_provisioner_name", "kernels are processes of this machine"),
    ),
)  # fmt: skip
