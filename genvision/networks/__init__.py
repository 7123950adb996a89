"""The four roles a trunk can play. Weights and configuration travel together (diffusers' ModelMixin)."""

from genvision.networks.decoder import Decoder
from genvision.networks.denoiser import Denoiser
from genvision.networks.encoder import Encoder
from genvision.networks.predictor import CausalPredictor

NETWORKS = {"encoder": Encoder, "decoder": Decoder, "denoiser": Denoiser, "predictor": CausalPredictor}
